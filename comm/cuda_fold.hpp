#pragma once
// The fold kernel behind DeviceFold. Only in processes that link or load CUDA: the GPU module.

#include <memory>

#include "comm/device_exchange.hpp"

namespace lockstep::comm {

/// On the device that is current where it is called. At most 256 partials a fold.
std::unique_ptr<DeviceFold> cuda_fold();

}  // namespace lockstep::comm
