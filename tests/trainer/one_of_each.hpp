#pragma once
// A model with one of each kind of state, for tests of what is saved and loaded.

#include <torch/torch.h>

#include "trainer/model.hpp"

namespace lockstep::tests {

/// Parameters, a frozen one, a buffer and a counter.
class OneOfEach final : public trainer::Model {
 public:
  explicit OneOfEach(float value) {
    register_parameter("weight", torch::full({3000}, value));
    register_parameter("frozen", torch::full({5}, value + 1), /*requires_grad=*/false);
    register_buffer("mean", torch::full({7}, value + 2));
    register_buffer("count", torch::full({2}, static_cast<std::int64_t>(value) + 3, torch::kLong));
  }
  torch::Tensor forward(const torch::Tensor& inputs, const trainer::ForwardContext&) override {
    return inputs;
  }
};

}  // namespace lockstep::tests
