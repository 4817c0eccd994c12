#pragma once
// Where a step's gradient comes from: each rank computes its micro-batches, all ranks meet, each
// asks for the total over all micro-batches of its own slice. Used by TrainStep; implemented by
// AutogradGradients (any model) and DenseGradients (chains of dense layers). One rank, one thread.

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>

#include "comm/communicator.hpp"
#include "comm/node_barrier.hpp"
#include "comm/topology.hpp"
#include "trainer/model.hpp"
#include "trainer/step_times.hpp"

namespace lockstep::trainer {

/// A micro-batch as tensors; they may be views of a buffer that lives until the next one.
struct MicroBatch {
  std::int64_t index = 0;  ///< among the step's micro-batches
  torch::Tensor inputs;    ///< [micro_batch, ...] f32, or i64 for tokens
  torch::Tensor targets;   ///< [micro_batch] i64, or f32 [micro_batch, ...] for regression
};

/// The group that trains together. All three must outlive their users.
struct RankGroup {
  comm::Communicator& world;
  comm::Communicator& node;
  const comm::Topology& topology;
};

class GradientSource {
 public:
  virtual ~GradientSource() = default;

  /// Computes this rank's micro-batches of optimizer step `step`, given in order by `next`;
  /// losses[index] becomes the mean loss of each, here or in late_losses. Adds to times' forward,
  /// backward and exchange.
  virtual void compute(std::int64_t step, const std::function<MicroBatch()>& next, double* losses,
                       StepTimes& times) = 0;
  /// From the next step on gradients come times `factor`, as `divisor` does. Losses do not.
  virtual void scale_loss(double /*factor*/) {}
  /// Losses of this rank's micro-batches that `compute` did not wait for, where a device has them:
  /// in its memory, behind all that was enqueued.
  virtual std::span<const float> late_losses() const { return {}; }
  /// Begins with step `step`, the next one, while what was enqueued goes on, so that a device has
  /// something to do when the host looks at the step before; nothing where it cannot be. `compute`
  /// goes on from there. Changes no state.
  virtual void begin_ahead(std::int64_t /*step*/, const std::function<MicroBatch()>& /*next*/) {}
  /// The state has changed since.
  virtual void forget_ahead() {}
  /// Makes every rank's part available to the owners of slices. Collective.
  virtual void exchange() = 0;
  /// What the sums below are divided by to be the gradient of the mean loss.
  virtual double divisor() const = 0;
  /// The sum over the global batch of elements [begin, end) of the flat gradient, which lie in
  /// this rank's slice: in `room` ([end - begin] f32) or in memory of its own that lives until the
  /// next call. Calls go from the slice's begin to its end. Local.
  virtual const float* sum(std::int64_t begin, std::int64_t end, float* room) = 0;
  /// Time that `sum` spent on what is part of the backward pass, since the last call.
  virtual std::chrono::nanoseconds take_backward_time() { return {}; }
  /// No rank needs another's part of this step any more, and whatever was written into node
  /// memory meanwhile is visible on the node. Collective over the node.
  virtual void finish() = 0;
  /// Of all ranks on the node.
  virtual comm::NodeBarrier& barrier() = 0;
};

}  // namespace lockstep::trainer
