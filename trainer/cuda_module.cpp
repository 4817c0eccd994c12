// The GPU module's entry: devices by UUID, and what a rank computes with on one of them.

#include <ATen/Context.h>
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/record_function.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nvtx3/nvToolsExt.h>
#include <torch/csrc/cuda/memory_snapshot.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/text.hpp"
#include "comm/cuda_check.hpp"
#include "comm/cuda_device.hpp"
#include "comm/cuda_fold.hpp"
#include "comm/nccl_library.hpp"
#include "trainer/cuda_kernels.hpp"
#include "trainer/cuda_layers.hpp"
#include "trainer/gpu_module.hpp"

namespace lockstep::trainer {
namespace {

std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU-";
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    std::array<char, 3> hex{};
    std::snprintf(hex.data(), hex.size(), "%02x", static_cast<unsigned char>(uuid.bytes[i]));
    text += hex.data();
  }
  return text;
}

class CudaGraph final : public DeviceGraph {
 public:
  CudaGraph(const at::cuda::MempoolId_t& pool, const std::function<void()>& work) {
    try {
      // Other threads, such as NCCL's, go on with what they do.
      graph_.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
      work();
      graph_.capture_end();
    } catch (...) {
      end_capture(pool);
      throw;
    }
  }
  void launch() override { graph_.replay(); }

 private:
  /// The stream takes ordinary work again. CUDAGraph leaves its allocator and its generator as in a
  /// capture when CUDA has refused one.
  static void end_capture_by_hand(const at::cuda::MempoolId_t& pool) {
    const auto device = c10::cuda::current_device();
    const auto in_any_case = [](const auto& call) {
      try {
        call();
      } catch (const std::exception&) {
        (void)cudaGetLastError();
      }
    };
    namespace allocator = c10::cuda::CUDACachingAllocator;
    in_any_case([&] { allocator::endAllocateToPool(device, pool); });
    in_any_case([&] { allocator::releasePool(device, pool); });
    in_any_case([&] {
      auto generator = at::cuda::detail::getDefaultCUDAGenerator(device);
      generator.graphsafe_set_state(at::cuda::detail::createCUDAGenerator(device));
    });
  }

  void end_capture(const at::cuda::MempoolId_t& pool) noexcept {
    try {
      graph_.capture_end();
    } catch (const std::exception&) {
      (void)cudaGetLastError();
      end_capture_by_hand(pool);
    }
  }

  at::cuda::CUDAGraph graph_;
};

class CudaGraphs final : public DeviceGraphs {
 public:
  std::unique_ptr<DeviceGraph> capture(const std::function<void()>& work) override {
    try {
      // What was computed without left its memory cached, which a capture cannot take.
      if (!std::exchange(began_, true)) c10::cuda::CUDACachingAllocator::emptyCache();
      return std::make_unique<CudaGraph>(pool_, work);
    } catch (const c10::Error& error) {
      throw base::DeviceError(std::string("a CUDA graph: ") + error.what_without_backtrace());
    }
  }

 private:
  at::cuda::MempoolId_t pool_ = at::cuda::graph_pool_handle();
  bool began_ = false;
};

/// The parts of a step have names in whatever reads NVTX, such as Nsight Systems; nothing where
/// nothing does.
void name_parts_of_steps() {
  const auto begin = [](const at::RecordFunction& part) -> std::unique_ptr<at::ObserverContext> {
    nvtxRangePushA(part.name());
    return nullptr;
  };
  const auto end = [](const at::RecordFunction&, at::ObserverContext*) { nvtxRangePop(); };
  at::addGlobalCallback(
      at::RecordFunctionCallback(begin, end).scopes({at::RecordScope::USER_SCOPE}));
}

class CudaModule final : public GpuModule {
 public:
  std::vector<GpuInfo> devices() override {
    int count = 0;
    const auto result = cudaGetDeviceCount(&count);
    if (result == cudaErrorNoDevice) return {};
    if (result == cudaErrorInsufficientDriver) {
      throw base::DeviceError(
          "the NVIDIA driver is not there or too old (this build needs one for CUDA " +
          std::to_string(CUDART_VERSION / 1000) +
          "); update the driver, or set compute.device to cpu");
    }
    comm::check_cuda(result, "cudaGetDeviceCount");
    std::vector<GpuInfo> found;
    for (int device = 0; device < count; ++device) {
      cudaDeviceProp properties{};
      comm::check_cuda(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
      std::array<char, 32> pci{};
      std::snprintf(pci.data(), pci.size(), "%04x:%02x:%02x.0", properties.pciDomainID,
                    properties.pciBusID, properties.pciDeviceID);
      found.push_back({.uuid = uuid_text(properties.uuid),
                       .name = properties.name,
                       .pci = pci.data(),
                       .memory_bytes = properties.totalGlobalMem});
    }
    return found;
  }

  std::unique_ptr<DeviceContext> use(std::size_t device, bool deterministic) override {
    const auto index = static_cast<c10::DeviceIndex>(device);
    if (deterministic) {
      // cuBLAS splits its sums over streams as it likes otherwise; it reads this when it starts.
      ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
      at::globalContext().setDeterministicAlgorithms(true, false);
      at::globalContext().setDeterministicFillUninitializedMemory(false);
      at::globalContext().setDeterministicCuDNN(true);
      at::globalContext().setBenchmarkCuDNN(false);
    }
    // f32 is f32: convolutions would be TF32 otherwise, matrix products where the environment says
    // so.
    if (const auto* wanted = std::getenv("NVIDIA_TF32_OVERRIDE");
        wanted != nullptr && std::string_view(wanted) == "1") {
      throw base::EnvironmentError(
          "NVIDIA_TF32_OVERRIDE=1 makes f32 less than f32 (results would depend on it); unset it, "
          "and use compute.precision bf16 for speed");
    }
    at::globalContext().setAllowTF32CuDNN(false);
    at::globalContext().setFloat32MatmulPrecision("highest");
    c10::cuda::set_device(index);
    at::globalContext().lazyInitDevice(at::kCUDA);  // the allocator, for those who watch it
    // Not the default stream, which waits for others and cannot be captured.
    const auto stream = c10::cuda::getStreamFromPool(false, index);
    c10::cuda::setCurrentCUDAStream(stream);
    name_parts_of_steps();
    auto context = std::make_unique<DeviceContext>();
    context->where = at::Device(at::kCUDA, index);
    context->api = comm::cuda_device();
    context->nccl = comm::nccl_library();
    context->fold = comm::cuda_fold();
    context->kernels = cuda_kernels();
    context->layers = cuda_layers();
    context->graphs = std::make_unique<CudaGraphs>();
    context->compute = stream.stream();
    return context;
  }

  void explain_lack_of_memory(const std::string& path) override {
    c10::cuda::CUDACachingAllocator::attachOutOfMemoryObserver(
        [path](std::int64_t device, std::size_t wanted, std::size_t, std::size_t free) {
          const auto snapshot = torch::cuda::_memory_snapshot_pickled();
          auto& files = base::FileSystem::posix();
          files.make_directories(base::parent_path(path));
          files.write_atomically(path, snapshot);
          std::fprintf(stderr,
                       "GPU %d has no room for %s (%s free); what holds its memory is in %s\n",
                       static_cast<int>(device), base::format_bytes(wanted).c_str(),
                       base::format_bytes(free).c_str(), path.c_str());
        });
  }
};

}  // namespace
}  // namespace lockstep::trainer

extern "C" __attribute__((visibility("default"))) lockstep::trainer::GpuModule*
lockstep_gpu_module() {
  static lockstep::trainer::CudaModule module;
  return &module;
}
