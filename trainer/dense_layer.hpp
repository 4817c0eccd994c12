#pragma once
// A dense layer for models' forward functions: Lockstep's kernels where the step asks for them,
// LibTorch's otherwise. One rank, one thread.

#include "trainer/model.hpp"

namespace lockstep::trainer {

/// inputs [..., in] f32 times weight [out, in] transposed, plus bias [out] (which may be
/// undefined):
/// [..., out]. With context.dense_kernels a row's result and its gradient by the inputs do not
/// depend on the rows beside it (see dense_kernels.hpp).
torch::Tensor dense(const torch::Tensor& inputs, const torch::Tensor& weight,
                    const torch::Tensor& bias, const ForwardContext& context);
torch::Tensor dense(const torch::Tensor& inputs, const torch::nn::Linear& layer,
                    const ForwardContext& context);

}  // namespace lockstep::trainer
