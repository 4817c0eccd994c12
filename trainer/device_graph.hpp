#pragma once
// Kernels captured once and launched together (CUDA graphs), as a seam: what launches hundreds of
// short kernels one by one keeps a GPU waiting. Part of DeviceContext; used by AutogradGradients.
// One thread.

#include <functional>
#include <memory>

namespace lockstep::trainer {

class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  /// Enqueues all of it on the stream that computes.
  virtual void launch() = 0;
};

class DeviceGraphs {
 public:
  virtual ~DeviceGraphs() = default;
  /// Runs `work` without its kernels, which become the graph. Memory that it allocates is the
  /// graph's, and another graph's as well: what it leaves there lasts until the next launch of any.
  /// Throws DeviceError where `work` does what cannot be captured; nothing has run then.
  virtual std::unique_ptr<DeviceGraph> capture(const std::function<void()>& work) = 0;
};

}  // namespace lockstep::trainer
