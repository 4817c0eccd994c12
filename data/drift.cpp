#include "data/drift.hpp"

#include <algorithm>
#include <cmath>

namespace lockstep::data::detail {
namespace {

constexpr std::int64_t kQuantileBins = 10;
/// An empty bin would make the index infinite.
constexpr double kLeastShare = 1e-4;

double share_of(std::int64_t part, std::int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

void DriftMeter::add(std::int64_t in_first, std::int64_t in_second) {
  first_below_ += in_first;
  second_below_ += in_second;
  first_in_bin_ += in_first;
  second_in_bin_ += in_second;
  drift_.ks = std::max(drift_.ks,
                       std::abs(share_of(first_below_, first_) - share_of(second_below_, second_)));
  // Quantile q is the smallest value with a share of q / 10 at or below it; it ends its bin, and
  // so does the bin of all quantiles that are the same value.
  bool ends = bins_ == Bins::kValues;
  for (; bins_ == Bins::kQuantiles && quantile_ < kQuantileBins &&
         share_of(first_below_, first_) * kQuantileBins >= static_cast<double>(quantile_);
       ++quantile_) {
    ends = true;
  }
  if (ends) close_bin();
}

Drift DriftMeter::finish() {
  close_bin();
  return drift_;
}

void DriftMeter::close_bin() {
  if (first_in_bin_ == 0 && second_in_bin_ == 0) return;
  const double first = std::max(kLeastShare, share_of(first_in_bin_, first_));
  const double second = std::max(kLeastShare, share_of(second_in_bin_, second_));
  drift_.psi += (second - first) * std::log(second / first);
  first_in_bin_ = 0;
  second_in_bin_ = 0;
}

}  // namespace lockstep::data::detail
