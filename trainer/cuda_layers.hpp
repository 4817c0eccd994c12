#pragma once
// CUDA's kernels behind LayerKernels. Inside the GPU module only.

#include <memory>

#include "trainer/layer_kernels.hpp"

namespace lockstep::trainer {

/// On the device that is current where its kernels are called.
std::unique_ptr<LayerKernels> cuda_layers();

}  // namespace lockstep::trainer
