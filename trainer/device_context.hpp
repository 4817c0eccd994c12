#pragma once
// What a rank needs to compute on its device: made by the GPU module (trainer/gpu_module.hpp), or
// of fakes in tests. Used by TrainStep and DeviceState. One rank, one thread.

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>

#include "comm/device_exchange.hpp"
#include "trainer/device_graph.hpp"
#include "trainer/device_kernels.hpp"
#include "trainer/layer_kernels.hpp"

namespace lockstep::trainer {

struct DeviceContext {
  at::Device where = at::kCPU;  ///< of tensors
  std::unique_ptr<comm::DeviceApi> api;
  std::shared_ptr<comm::NcclApi> nccl;
  std::unique_ptr<comm::DeviceFold> fold;
  std::unique_ptr<DeviceKernels> kernels;
  std::unique_ptr<LayerKernels> layers;
  std::unique_ptr<DeviceGraphs> graphs{};  ///< null: none can be captured
  comm::DeviceStream compute = nullptr;  ///< where this thread's tensor operations go
  std::function<void(const std::string&)> warn = [](const std::string&) {};
};

}  // namespace lockstep::trainer
