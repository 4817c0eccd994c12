#include "trainer/gpu_module.hpp"

#include <dlfcn.h>

#include <filesystem>

#include "base/error.hpp"

namespace lockstep::trainer {
namespace {

constexpr char kModule[] = "lockstep-gpu.so";
constexpr char kEntry[] = "lockstep_gpu_module";

}  // namespace

bool has_gpu_driver() {
  std::error_code ignored;
  return std::filesystem::exists("/proc/driver/nvidia/version", ignored);
}

std::string find_gpu_module() {
  std::error_code ignored;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const auto& path : {folder / kModule, folder / LOCKSTEP_MODULES / kModule}) {
    if (std::filesystem::exists(path, ignored)) return path.string();
  }
  return {};
}

GpuModule& load_gpu_module() {
  const auto path = find_gpu_module();
  // Global, so that LibTorch finds its CUDA half.
  void* library = ::dlopen(path.empty() ? kModule : path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  void* entry = library == nullptr ? nullptr : ::dlsym(library, kEntry);
  if (entry == nullptr) {
    const char* reason = ::dlerror();
    throw base::DeviceError(std::string("no GPU can be used (") +
                            (reason == nullptr ? "no reason given" : reason) +
                            "; Lockstep was built without a CUDA toolkit, or its libraries are "
                            "gone); build it where nvcc is, or set compute.device to cpu");
  }
  return *reinterpret_cast<GpuModule* (*)()>(entry)();
}

}  // namespace lockstep::trainer
