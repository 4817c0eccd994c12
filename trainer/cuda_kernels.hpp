#pragma once
// CUDA's kernels behind DeviceKernels. Inside the GPU module only.

#include <memory>

#include "trainer/device_kernels.hpp"

namespace lockstep::trainer {

/// On the device that is current where it is called.
std::unique_ptr<DeviceKernels> cuda_kernels();

}  // namespace lockstep::trainer
