#pragma once
// Samples of several files as the samples of one dataset, one after the other, or mixed by weights.
// Internal to data/; pure, any thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lockstep::data::detail {

struct FileSample {
  std::size_t file = 0;
  std::int64_t sample = 0;  ///< of that file
};

class SampleMix {
 public:
  /// `counts`: samples of each file. `weights`: none, or for each file its part of an epoch, which
  /// has as many samples as all files together. A file smaller than its part is gone through more
  /// than once, each time in a new order keyed by `seed`; a larger one goes on where the last epoch
  /// stopped. Throws ConfigError for weights that are not positive or not one for each file.
  SampleMix(std::vector<std::int64_t> counts, const std::vector<double>& weights,
            std::uint64_t seed);

  /// All files' samples together.
  std::int64_t samples() const { return starts_.back(); }
  /// Where sample `number` of an epoch lies.
  FileSample at(std::int64_t number, std::int64_t epoch) const;
  /// The same in file order, without weights.
  FileSample unmixed(std::int64_t number) const;

 private:
  FileSample found(std::span<const std::int64_t> starts, std::int64_t number) const;

  std::vector<std::int64_t> counts_;
  std::vector<std::int64_t> starts_;  ///< [files + 1] in file order
  std::vector<std::int64_t> parts_;   ///< [files + 1] of an epoch; the same without weights
  bool weighted_ = false;
  std::uint64_t seed_;
};

}  // namespace lockstep::data::detail
