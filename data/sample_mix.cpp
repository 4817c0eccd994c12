#include "data/sample_mix.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "base/philox.hpp"
#include "data/permutation.hpp"

namespace lockstep::data::detail {
namespace {

std::vector<std::int64_t> starts_of(const std::vector<std::int64_t>& counts) {
  std::vector<std::int64_t> starts{0};
  for (const auto count : counts) starts.push_back(starts.back() + count);
  return starts;
}

/// Whole parts of `total` in proportion to `weights`, by largest remainders.
std::vector<std::int64_t> shared_out(std::int64_t total, const std::vector<double>& weights) {
  const auto sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<std::int64_t> parts;
  std::vector<std::pair<double, std::size_t>> remainders;
  std::int64_t given = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto exact = static_cast<double>(total) * (weights[i] / sum);
    parts.push_back(static_cast<std::int64_t>(std::floor(exact)));
    remainders.emplace_back(std::floor(exact) - exact, i);
    given += parts.back();
  }
  std::sort(remainders.begin(), remainders.end());
  for (std::size_t i = 0; given < total; i = (i + 1) % remainders.size()) {
    ++parts[remainders[i].second];
    ++given;
  }
  return parts;
}

}  // namespace

SampleMix::SampleMix(std::vector<std::int64_t> counts, const std::vector<double>& weights,
                     std::uint64_t seed)
    : counts_(std::move(counts)),
      starts_(starts_of(counts_)),
      parts_(starts_),
      weighted_(!weights.empty()),
      seed_(seed) {
  if (!weighted_) return;
  const bool possible = weights.size() == counts_.size() &&
                        std::all_of(weights.begin(), weights.end(),
                                    [](double w) { return w > 0 && std::isfinite(w); });
  if (!possible) {
    throw base::ConfigError("data.weights has " + std::to_string(weights.size()) + " numbers for " +
                            std::to_string(counts_.size()) +
                            " files (each file of data.train needs one, above 0); give one a file");
  }
  parts_ = starts_of(shared_out(samples(), weights));
}

FileSample SampleMix::found(std::span<const std::int64_t> starts, std::int64_t number) const {
  const auto after = std::upper_bound(starts.begin(), starts.end(), number);
  const auto file = static_cast<std::size_t>(after - starts.begin()) - 1;
  return {file, number - starts[file]};
}

FileSample SampleMix::unmixed(std::int64_t number) const { return found(starts_, number); }

FileSample SampleMix::at(std::int64_t number, std::int64_t epoch) const {
  auto place = found(parts_, number);
  if (!weighted_) return place;
  const auto count = counts_[place.file];
  const auto taken = epoch * (parts_[place.file + 1] - parts_[place.file]) + place.sample;
  const auto key = base::keyed_random(seed_, base::RandomPurpose::kMixing, place.file, 0);
  place.sample = Permutation(count, key, taken / count, Shuffle::kOn).at(taken % count);
  return place;
}

}  // namespace lockstep::data::detail
