#pragma once
// Population stability index and Kolmogorov-Smirnov statistic of two columns. Internal to data/;
// pure.

#include <cstdint>

#include "data/diff.hpp"

namespace lockstep::data::detail {

/// Takes the values of both columns in ascending order, each once with how often it occurs.
class DriftMeter {
 public:
  enum class Bins { kQuantiles, kValues };

  /// The numbers of elements, both at least 1.
  DriftMeter(std::int64_t first, std::int64_t second, Bins bins)
      : first_(first), second_(second), bins_(bins) {}

  void add(std::int64_t in_first, std::int64_t in_second);
  /// After all values.
  Drift finish();

 private:
  void close_bin();

  std::int64_t first_;
  std::int64_t second_;
  Bins bins_;
  std::int64_t first_below_ = 0;
  std::int64_t second_below_ = 0;
  std::int64_t first_in_bin_ = 0;
  std::int64_t second_in_bin_ = 0;
  std::int64_t quantile_ = 1;  ///< the next one, of kQuantileBins
  Drift drift_;
};

}  // namespace lockstep::data::detail
