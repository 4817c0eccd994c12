#pragma once
// Gradients of any model, by autograd: one backward pass a micro-batch, folded on this rank as far
// as the tree allows, the rest by PartialSums, in node memory or between devices. Used by
// TrainStep.

#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "trainer/device_inputs.hpp"
#include "trainer/gradient_source.hpp"
#include "trainer/micro_batch_graphs.hpp"
#include "trainer/objective.hpp"
#include "trainer/parameter_space.hpp"
#include "trainer/partial_sums.hpp"

namespace lockstep::trainer {

struct AutogradOptions {
  std::uint64_t seed = 1;
  bool dense_kernels = false;  ///< for models that use `dense`
  bool recompute = false;      ///< for models that use `recomputed`
  bool fold_in_turn = false;   ///< reduction: fast; one sum a rank instead of the tree's subtrees
  comm::LeafRange range;       ///< of this rank's micro-batches
  std::int64_t micro_batches = 1;   ///< of the global batch
  DeviceContext* device = nullptr;  ///< null: the CPU
  bool captures_graphs = true;      ///< of a device's micro-batches, where it can
};

class AutogradGradients final : public GradientSource {
 public:
  /// `space` and the device must outlive this; `inputs`: where there is a device. Local.
  AutogradGradients(ParameterSpace& space, Objective objective, std::unique_ptr<PartialSums> sums,
                    AutogradOptions options, std::unique_ptr<DeviceInputs> inputs = nullptr);

  void compute(std::int64_t step, const std::function<MicroBatch()>& next, double* losses,
               StepTimes& times) override;
  void exchange() override { sums_->exchange(); }
  double divisor() const override {
    return static_cast<double>(options_.micro_batches) * loss_factor_;
  }
  const float* sum(std::int64_t begin, std::int64_t end, float* room) override {
    return sums_->sum(begin, end, room);
  }
  void finish() override { sums_->finish(); }
  comm::NodeBarrier& barrier() override { return sums_->barrier(); }
  std::span<const float> late_losses() const override;
  void begin_ahead(std::int64_t step, const std::function<MicroBatch()>& next) override;
  void forget_ahead() override;
  void scale_loss(double factor) override;

 private:
  /// A sum and what is to be added to it, in this order.
  using Merges = std::vector<std::pair<float*, const float*>>;

  void run_micro_batch(std::int64_t step, const std::function<MicroBatch()>& next, float* target,
                       Contribution contribution, const ParameterSpace::Arrived& arrived,
                       double* losses, StepTimes& times);
  DeviceInputs::There take(std::int64_t step, const MicroBatch& batch);
  void run_on_device(std::int64_t step, const DeviceInputs::There& there, float* target,
                     Contribution contribution, const ParameterSpace::Arrived& arrived);
  /// Of a micro-batch's random streams.
  std::uint64_t seed_of(std::int64_t step, std::int64_t index) const;
  void seed_streams(std::int64_t step, std::int64_t index);
  torch::Tensor forward(const MicroBatch& batch, const ForwardContext& context);
  /// Throws DivergenceError where anomalies are looked for and one is found.
  void backward(const torch::Tensor& loss, std::int64_t step, std::int64_t index);
  void merge(const Merges& merges, FlatRange range);

  ParameterSpace& space_;
  Objective objective_;
  std::unique_ptr<PartialSums> sums_;
  AutogradOptions options_;
  std::unique_ptr<DeviceInputs> inputs_;     // null without a device
  std::optional<MicroBatchGraphs> graphs_;   // with a device
  std::vector<std::uint64_t> dropout_keys_;  // of a micro-batch
  torch::Tensor losses_there_;               // on the device, of this rank's micro-batches
  /// A step's first micro-batch, computed while the step before was not over.
  struct Ahead {
    std::int64_t step = 0;
    DeviceInputs::There there;
    std::vector<std::int64_t> counter_changes;
    bool stands = true;  ///< the state is still that which it was computed with
  };
  std::optional<Ahead> ahead_;
  std::exception_ptr ahead_failed_;  // which is the next step's failure, not this one's
  at::Generator generator_;
  double loss_factor_ = 1;
  torch::Tensor loss_factor_there_;  // the same where the losses are; undefined for 1
};

}  // namespace lockstep::trainer
