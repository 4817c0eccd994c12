#pragma once
// Launches of the kernels behind LayerKernels, as C++17 without torch: what nvcc reads. Used by
// cuda_layers.

#include <cuda_runtime_api.h>

#include "trainer/layer_arguments.h"

namespace lockstep::trainer {

// Each returns what the launches did; arguments as LayerKernels.
cudaError_t launch_bias_gelu(const BiasGeluForward& pass, cudaStream_t stream);
cudaError_t launch_bias_gelu_backward(const BiasGeluBackward& pass, cudaStream_t stream);
cudaError_t launch_layer_norm(const LayerNormForward& pass, cudaStream_t stream);
cudaError_t launch_layer_norm_backward(const LayerNormBackward& pass, cudaStream_t stream);
/// The odds are those of pass.probability, see dropout_odds.
cudaError_t launch_dropout(const DropoutPass& pass, std::uint32_t dropped_below, float kept,
                           cudaStream_t stream);

}  // namespace lockstep::trainer
