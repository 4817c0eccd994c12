#include "trainer/model.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <mutex>

#include "trainer/device_forward.hpp"
#include "trainer/dropout_mask.hpp"
#include "trainer/fused_layers.hpp"

namespace lockstep::trainer {

torch::Tensor dropout(const torch::Tensor& inputs, double probability,
                      const ForwardContext& context) {
  if (!context.training() || probability == 0) return inputs;
  if (context.device != nullptr) return device_dropout(inputs, probability, *context.device);
  // One number of the micro-batch's stream keys all elements.
  auto* stream = at::check_generator<at::CPUGeneratorImpl>(context.generator);
  const auto key = [&] {
    const std::lock_guard lock(stream->mutex_);
    return stream->random64();
  }();
  const auto mask = at::empty(inputs.sizes(), at::TensorOptions(at::kFloat));
  fill_dropout_mask(mask.mutable_data_ptr<float>(), mask.numel(), probability, key);
  return inputs * mask.to(inputs.device());
}

}  // namespace lockstep::trainer
