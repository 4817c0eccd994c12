#pragma once
// Which rank computes which micro-batches: V micro-batches over W ranks in contiguous ranges whose
// sizes differ by at most one, the first ranks getting the longer ones. Pure, any thread.

#include <cstdint>

#include "comm/reduction_tree.hpp"

namespace lockstep::comm {

class MicroBatchPlan {
 public:
  /// Throws ConfigError when there are more ranks than micro-batches.
  MicroBatchPlan(std::int64_t micro_batches, int ranks);

  std::int64_t micro_batches() const { return micro_batches_; }
  int ranks() const { return ranks_; }
  LeafRange range_of(int rank) const;
  int owner_of(std::int64_t micro_batch) const;

 private:
  std::int64_t micro_batches_;
  int ranks_;
};

}  // namespace lockstep::comm
