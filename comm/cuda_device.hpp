#pragma once
// The CUDA runtime behind DeviceApi. Only in processes that link or load it: the GPU module.

#include <memory>

#include "comm/device_api.hpp"

namespace lockstep::comm {

/// The device that is current in the calling thread stays the one of all calls.
std::unique_ptr<DeviceApi> cuda_device();

}  // namespace lockstep::comm
