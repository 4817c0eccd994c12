#pragma once
// How the flat gradient is cut into the pieces that are exchanged while backward still computes the
// others. Backward ends with the first layers, so buckets go from the end of the flat gradient to
// its begin, and the last one is small: only its exchange cannot hide (Li et al. 2020, "PyTorch
// Distributed", section 3.2). Pure; used by DeviceExchange.

#include <cstdint>
#include <vector>

#include "comm/reduction_tree.hpp"

namespace lockstep::comm {

struct BucketPlanOptions {
  std::int64_t floats = 0;               ///< length of the flat gradient
  int ranks = 1;                         ///< each bucket is cut into as many equal slices
  std::int64_t slice_unit = 64;          ///< slices are multiples of it; a multiple of 64
  std::int64_t bucket_floats = 6 << 20;  ///< about; 24 MiB
  std::int64_t last_floats = 1 << 18;    ///< of the last one, about; 1 MiB
};

class BucketPlan {
 public:
  explicit BucketPlan(const BucketPlanOptions& options);

  /// In the order in which they are exchanged; they tile [0, padded_floats()) backwards.
  const std::vector<LeafRange>& buckets() const { return buckets_; }
  /// Buffers have this length, so that all slices of a bucket are of one size, in whole units. What
  /// is behind the gradient's end is 0.
  std::int64_t padded_floats() const { return padded_; }
  LeafRange slice(std::size_t bucket, int rank) const;
  /// Whose slice float `at` lies in.
  int owner_of(std::int64_t at) const;
  /// The buckets that are whole, in order from `done` on, when floats from `ready_begin` to the end
  /// are there: their number.
  std::size_t ready(std::size_t done, std::int64_t ready_begin) const;

 private:
  int ranks_;
  std::int64_t padded_ = 0;
  std::vector<LeafRange> buckets_;
};

}  // namespace lockstep::comm
