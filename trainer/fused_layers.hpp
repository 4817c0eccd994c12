#pragma once
// Layers of which a device computes several in one pass over memory, for models' forward functions:
// with context.device by its kernels (layer_kernels.hpp), otherwise by LibTorch's operations one by
// one. One rank, one thread.
//
// With a device under autocast, results that a matrix product reads are of autocast's type, and
// sums of a residual stream are f32.

#include "trainer/model.hpp"

namespace lockstep::trainer {

/// gelu(dense(inputs, layer)) in its tanh form: inputs [..., in], a layer with bias, [..., out].
/// With a device the bias, f32, is added in f32 to the rounded products.
torch::Tensor gelu_of_dense(const torch::Tensor& inputs, const torch::nn::Linear& layer,
                            const ForwardContext& context);

/// A residual stream and what the next branch reads of it, both [..., width].
struct NormedSum {
  torch::Tensor sum;     ///< with a device f32
  torch::Tensor normed;  ///< with a device as autocast wants it, else of the branch's type
};

/// sum = residual + branch, and its LayerNorm over the last dimension; branch and residual
/// [..., width] of one shape.
NormedSum add_layer_norm(const torch::Tensor& branch, const torch::Tensor& residual,
                         const torch::nn::LayerNorm& norm, const ForwardContext& context);
/// The same where nothing is to be added yet.
NormedSum layer_norm(const torch::Tensor& residual, const torch::nn::LayerNorm& norm,
                     const ForwardContext& context);

/// `dropout` (model.hpp) by the device's kernel: of the inputs' type, for f32, bf16 and f16.
/// Throws InternalError when the device has no key left.
torch::Tensor device_dropout(const torch::Tensor& inputs, double probability,
                             DeviceForward& device);

}  // namespace lockstep::trainer
