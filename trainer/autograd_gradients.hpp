#pragma once
// Gradients of any model, by autograd: one backward pass a micro-batch, folded on this rank as far
// as the tree allows, the rest in node memory by slices. Used by TrainStep.

#include <memory>
#include <vector>

#include "comm/gradient_exchange.hpp"
#include "trainer/gradient_source.hpp"
#include "trainer/objective.hpp"
#include "trainer/parameter_space.hpp"

namespace lockstep::trainer {

struct AutogradOptions {
  std::uint64_t seed = 1;
  bool dense_kernels = false;  ///< for models that use `dense`
  bool fold_in_turn = false;   ///< reduction: fast; one sum a rank instead of the tree's subtrees
  std::vector<comm::LeafRange> micro_batches_of_rank;
  std::vector<comm::LeafRange> slice_of_rank;  ///< flat elements
};

class AutogradGradients final : public GradientSource {
 public:
  /// `space` must outlive this. Throws EnvironmentError when shared memory has too little room.
  /// Collective.
  AutogradGradients(RankGroup group, ParameterSpace& space, Objective objective,
                    AutogradOptions options);

  void compute(std::int64_t step, const std::function<MicroBatch()>& next, double* losses,
               StepTimes& times) override;
  void exchange() override { exchange_->exchange(); }
  std::int64_t divisor() const override { return options_.micro_batches_of_rank.back().end; }
  const float* sum(std::int64_t begin, std::int64_t end, float* room) override;
  void finish() override { exchange_->finish(); }
  comm::NodeBarrier& barrier() override { return exchange_->barrier(); }

 private:
  void run_micro_batch(std::int64_t step, const MicroBatch& batch, float* target,
                       Contribution contribution, double* losses, StepTimes& times);

  ParameterSpace& space_;
  Objective objective_;
  AutogradOptions options_;
  comm::LeafRange range_;  // of this rank's micro-batches
  std::unique_ptr<comm::GradientExchange> exchange_;
  std::vector<std::vector<float>> fold_buffers_;  // deeper levels of the fold in this rank
  at::Generator generator_;
};

}  // namespace lockstep::trainer
