#include "trainer/gpu_module.hpp"

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/loaded_module.hpp"

namespace lockstep::trainer {
namespace {

constexpr char kModule[] = "lockstep-gpu.so";

}  // namespace

bool has_gpu_driver() { return base::FileSystem::posix().exists("/proc/driver/nvidia/version"); }

std::string find_gpu_module() { return base::module_path(kModule); }

GpuModule& load_gpu_module() {
  // Global, so that LibTorch finds its CUDA half.
  const auto entry = base::load_module(kModule, "lockstep_gpu_module", base::ModuleScope::kGlobal);
  if (entry.address == nullptr) {
    throw base::DeviceError("no GPU can be used (" + entry.problem +
                            "; Lockstep was built without a CUDA toolkit, or its libraries are "
                            "gone); build it where nvcc is, or set compute.device to cpu");
  }
  return *reinterpret_cast<GpuModule* (*)()>(entry.address)();
}

}  // namespace lockstep::trainer
