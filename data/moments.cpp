#include "data/moments.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/vector_clones.hpp"

namespace lockstep::data::detail {
namespace {

/// Eight lanes; GCC and clang split them into what an instruction set has. Two of them are one
/// round, so that additions overlap.
using Lanes = double __attribute__((vector_size(64)));
using Counts = std::int64_t __attribute__((vector_size(64)));
constexpr std::size_t kLanes = 8;
constexpr std::size_t kRound = 2 * kLanes;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct LeafSums {
  double sum;
  double smallest;
  double largest;
  std::int64_t zeros;
};

/// Sixteen lanes added in halves: 8, 4, 2, 1 apart.
template <class Vector>
auto added_across(const Vector& lower, const Vector& upper) {
  auto lanes = lower + upper;
  for (auto width = kLanes / 2; width > 0; width /= 2) {
    for (std::size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

/// `count` is a multiple of kRound.
LOCKSTEP_VECTOR_CLONES void add_rounds(const double* values, std::size_t count, LeafSums* result) {
  Lanes sum[2] = {};
  Lanes smallest[2] = {Lanes{} + kInfinity, Lanes{} + kInfinity};
  Lanes largest[2] = {Lanes{} - kInfinity, Lanes{} - kInfinity};
  Counts zeros[2] = {};
  for (std::size_t begin = 0; begin < count; begin += kRound) {
    for (std::size_t half = 0; half < 2; ++half) {
      Lanes value;
      std::memcpy(&value, values + begin + half * kLanes, sizeof value);
      sum[half] += value;
      smallest[half] = value < smallest[half] ? value : smallest[half];
      largest[half] = value > largest[half] ? value : largest[half];
      zeros[half] -= value == 0;  // a true lane is -1
    }
  }
  result->sum = added_across(sum[0], sum[1]);
  result->zeros = added_across(zeros[0], zeros[1]);
  result->smallest = kInfinity;
  result->largest = -kInfinity;
  for (std::size_t i = 0; i < kLanes; ++i) {
    result->smallest = std::min({result->smallest, smallest[0][i], smallest[1][i]});
    result->largest = std::max({result->largest, largest[0][i], largest[1][i]});
  }
}

LOCKSTEP_VECTOR_CLONES double squares_of_rounds(const double* values, std::size_t count,
                                                double mean) {
  Lanes sum[2] = {};
  for (std::size_t begin = 0; begin < count; begin += kRound) {
    for (std::size_t half = 0; half < 2; ++half) {
      Lanes value;
      std::memcpy(&value, values + begin + half * kLanes, sizeof value);
      const Lanes deviation = value - mean;
      sum[half] += deviation * deviation;
    }
  }
  return added_across(sum[0], sum[1]);
}

/// Sums of finite values, or of some that are not: then the sum is not finite either.
LeafSums sums_of(std::span<const double> values) {
  const auto whole = values.size() / kRound * kRound;
  LeafSums sums{};
  add_rounds(values.data(), whole, &sums);
  for (const double value : values.subspan(whole)) {
    sums.sum += value;
    sums.smallest = std::min(sums.smallest, value);
    sums.largest = std::max(sums.largest, value);
    sums.zeros += value == 0 ? 1 : 0;
  }
  return sums;
}

double squares_of(std::span<const double> values, double mean) {
  const auto whole = values.size() / kRound * kRound;
  double squares = squares_of_rounds(values.data(), whole, mean);
  for (const double value : values.subspan(whole)) squares += (value - mean) * (value - mean);
  return squares;
}

}  // namespace

double Moments::deviation() const {
  return count == 0 ? 0 : std::sqrt(squares / static_cast<double>(count));
}

Moments merged(const Moments& lower, const Moments& upper) {
  if (lower.count == 0) return upper;
  if (upper.count == 0) return lower;
  const auto count = lower.count + upper.count;
  const auto share = static_cast<double>(upper.count) / static_cast<double>(count);
  const double apart = upper.mean - lower.mean;
  return {.count = count,
          .mean = lower.mean + apart * share,
          .squares = lower.squares + upper.squares +
                     apart * apart * share * static_cast<double>(lower.count)};
}

Summary merged(const Summary& lower, const Summary& upper) {
  Summary both;
  both.moments = merged(lower.moments, upper.moments);
  both.zeros = lower.zeros + upper.zeros;
  both.nans = lower.nans + upper.nans;
  both.infinities = lower.infinities + upper.infinities;
  if (lower.moments.count == 0 || upper.moments.count == 0) {
    const auto& one = lower.moments.count == 0 ? upper : lower;
    both.smallest = one.smallest;
    both.largest = one.largest;
  } else {
    both.smallest = std::min(lower.smallest, upper.smallest);
    both.largest = std::max(lower.largest, upper.largest);
  }
  return both;
}

Summary summary_of(std::span<double> values) {
  Summary summary;
  auto sums = sums_of(values);
  if (!std::isfinite(sums.sum)) {
    const auto end = std::remove_if(values.begin(), values.end(), [&](double value) {
      summary.nans += std::isnan(value) ? 1 : 0;
      summary.infinities += std::isinf(value) ? 1 : 0;
      return !std::isfinite(value);
    });
    values = values.first(static_cast<std::size_t>(end - values.begin()));
    sums = sums_of(values);
  }
  if (values.empty()) return summary;
  summary.zeros = sums.zeros;
  // Adding 0 makes -0, which is the same number, print as people expect.
  summary.smallest = sums.smallest + 0.0;
  summary.largest = sums.largest + 0.0;
  auto& moments = summary.moments;
  moments.count = static_cast<std::int64_t>(values.size());
  moments.mean = sums.sum / static_cast<double>(moments.count);
  moments.squares = squares_of(values, moments.mean);
  return summary;
}

}  // namespace lockstep::data::detail
