#include "trainer/model.hpp"

namespace lockstep::trainer {

torch::Tensor dropout(const torch::Tensor& inputs, double probability,
                      const ForwardContext& context) {
  if (!context.training() || probability == 0) return inputs;
  const auto mask = torch::empty_like(inputs, inputs.options().requires_grad(false))
                        .bernoulli_(1 - probability, context.generator)
                        .div_(1 - probability);
  return inputs * mask;
}

}  // namespace lockstep::trainer
