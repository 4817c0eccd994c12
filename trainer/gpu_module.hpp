#pragma once
// The GPU module: everything that calls CUDA, in a library of its own that a process loads before
// it uses torch, when it is to compute on a GPU (LibTorch looks once for its CUDA half). A process
// that is not stays small and starts fast. Used by the worker. Before any thread is started.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "trainer/device_context.hpp"

namespace lockstep::trainer {

struct GpuInfo {
  std::string uuid;  ///< `GPU-...` or `MIG-...`
  std::string name;
  std::string pci;  ///< `0000:1b:00.0`
  std::size_t memory_bytes = 0;
};

class GpuModule {
 public:
  virtual ~GpuModule() = default;
  /// All that this process sees, in the runtime's order.
  virtual std::vector<GpuInfo> devices() = 0;
  /// From now on the calling thread computes on one of them. `deterministic`: kernels whose results
  /// depend on nothing but their inputs. Throws DeviceError and EnvironmentError.
  virtual std::unique_ptr<DeviceContext> use(std::size_t device, bool deterministic) = 0;
  /// When an allocation fails for want of memory, what holds it is written to `path`, in the format
  /// that pytorch.org/memory_viz opens.
  virtual void explain_lack_of_memory(const std::string& path) = 0;
};

/// Whether this machine has an NVIDIA driver.
bool has_gpu_driver();
/// Where the module is; empty where Lockstep was built without.
std::string find_gpu_module();
/// Loads it for the rest of the process. Throws DeviceError, with the loader's words, when it or
/// what it needs is not there.
GpuModule& load_gpu_module();

}  // namespace lockstep::trainer
