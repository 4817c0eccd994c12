#pragma once
// Sums gradients that lie on devices over all micro-batches, bucket by bucket while backward goes
// on, with a NcclGroup. By the one tree (`reduction: invariant`): every rank sends each slice of
// its partial sums to the slice's owner, who folds them in the tree's order; the bytes on the wire
// are a reduce-scatter's, and the bits do not depend on the number of ranks. Or as NCCL likes
// (`reduction: fast`): a reduce-scatter. Either way a rank has its slice of each bucket afterwards,
// updates it, and `gather` hands the result to all (as ZeRO stage 1, Rajbhandari et al. 2020).
// Used by a training step on a device. One object a rank, one thread.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/bucket_plan.hpp"
#include "comm/nccl_group.hpp"
#include "comm/reduction_tree.hpp"

namespace lockstep::comm {

/// The kernel that sums partials by a fold program; comm/fold.hpp is its reference.
class DeviceFold {
 public:
  virtual ~DeviceFold() = default;
  /// Enqueues out[i] = the program's sum over partials[..][i], i below `count`, on `stream`. All
  /// is device memory; `out` may be one of the partials.
  virtual void fold(std::span<const float* const> partials, std::span<const FoldStep> program,
                    float* out, std::size_t count, DeviceStream stream) = 0;
};

struct DeviceExchangeOptions {
  BucketPlanOptions buckets;
  /// More floats behind the buckets, in small number, of which all ranks need all sums.
  std::int64_t shared_floats = 0;
  bool invariant = true;
  std::int64_t leaves = 0;                ///< micro-batches of the global batch
  std::vector<LeafRange> leaves_of_rank;  ///< contiguous, in rank order, none empty
};

class DeviceExchange {
 public:
  /// The arguments must outlive the exchange. Throws DeviceError when memory cannot be had and
  /// ConfigError when the ranks' micro-batches make more than 256 partial sums. Collective.
  DeviceExchange(NcclGroup& group, DeviceApi& device, DeviceFold& fold,
                 DeviceExchangeOptions options);
  ~DeviceExchange();
  DeviceExchange(const DeviceExchange&) = delete;
  DeviceExchange& operator=(const DeviceExchange&) = delete;

  const BucketPlan& plan() const { return plan_; }
  /// Tree nodes that this rank folds alone, left to right; in fast mode one: its range.
  const std::vector<LeafRange>& subtrees() const { return own_; }
  /// plan().padded_floats(), then the shared floats.
  std::int64_t shared_begin() const { return plan_.padded_floats(); }
  /// Of each partial sum and of whatever is laid out like one.
  std::int64_t floats() const { return floats_; }
  /// Where the folded gradient of subtrees()[i] goes: [floats()] f32 on the device. What lies
  /// behind the gradient's end is 0 and stays it.
  float* partial(std::size_t i) { return partials_.at(i); }

  /// Floats from `ready_begin` to the end of all partials are there once what is in `compute` now
  /// has run: exchanges the buckets that are whole. Called as backward goes on. The same calls on
  /// all ranks, or others that make the same buckets. Collective.
  void ready(std::int64_t ready_begin, DeviceStream compute);
  /// As ready(0), and the shared floats are there as well. Collective.
  void ready_all(DeviceStream compute);
  /// Sums of this rank's slices and of the shared floats, in place of partial(0); `compute` sees
  /// them. After ready_all.
  float* sums(DeviceStream compute);
  /// `values` [padded_floats()]: each rank has written its slices; afterwards all have all, as
  /// `compute` sees them. For parameters after their update. Collective.
  void gather(float* values, DeviceStream compute);

 private:
  void exchange(std::size_t bucket);
  void exchange_shared();
  /// Sends each rank its part of the partials, begins of parts by rank, and folds the own part.
  void fold_part(std::span<const std::int64_t> begins, std::size_t floats, float* room);
  float* allocate(std::int64_t floats);

  NcclGroup& group_;
  DeviceApi& device_;
  DeviceFold& fold_;
  BucketPlan plan_;
  bool invariant_;
  std::vector<LeafRange> own_;
  std::vector<std::vector<LeafRange>> subtrees_of_rank_;
  std::vector<FoldStep> program_;  // over all ranks' subtrees in rank order
  std::vector<float*> memory_;     // all that was allocated
  std::vector<float*> partials_;
  std::int64_t floats_ = 0;
  float* inbox_ = nullptr;  // other ranks' partials of the own slices, bucket after bucket
  std::vector<std::int64_t> inbox_of_bucket_;  // and then of the shared floats
  std::size_t done_ = 0;                       // buckets of this step
  bool all_ready_ = false;
};

}  // namespace lockstep::comm
