#pragma once
// Count, mean and squared deviations of numbers, put together exactly as often as wanted. Internal
// to data/; pure. Every build and instruction set gives the same bits: sums have a fixed number of
// lanes.

#include <cstddef>
#include <cstdint>
#include <span>

namespace lockstep::data::detail {

/// Of finite numbers.
struct Moments {
  std::int64_t count = 0;
  double mean = 0;
  double squares = 0;  ///< sum of the squared deviations from the mean

  /// Population standard deviation.
  double deviation() const;
};

/// Of both together (Chan, Golub, LeVeque: "Updating Formulae and a Pairwise Algorithm for
/// Computing Sample Variances", Stanford STAN-CS-79-773, 1979, equation 2.1).
Moments merged(const Moments& lower, const Moments& upper);

/// What one look at some elements tells.
struct Summary {
  Moments moments;  ///< of the finite ones
  std::int64_t zeros = 0;
  std::int64_t nans = 0;
  std::int64_t infinities = 0;
  double smallest = 0;  ///< of the finite ones; 0 without any
  double largest = 0;
};

Summary merged(const Summary& lower, const Summary& upper);

/// Elements that are summarised at a time: 16 KiB of doubles lie in a core's first cache. Do not
/// change: the bits of means and deviations depend on it.
inline constexpr std::size_t kLeafElements = 2048;

/// Of at most kLeafElements values; those that are not finite are moved out of the way, so the
/// order of `values` may change.
Summary summary_of(std::span<double> values);

}  // namespace lockstep::data::detail
