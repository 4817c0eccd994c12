#include "comm/cuda_device.hpp"

#include <cuda_runtime_api.h>

#include <string>

#include "base/error.hpp"
#include "comm/cuda_check.hpp"

namespace lockstep::comm {

void check_cuda(int result_of_call, const char* call) {
  const auto result = static_cast<cudaError_t>(result_of_call);
  if (result == cudaSuccess) return;
  throw base::DeviceError(std::string(call) + " failed (CUDA: " + cudaGetErrorName(result) + ", " +
                          cudaGetErrorString(result) +
                          "); run with CUDA_LAUNCH_BLOCKING=1 to see where");
}

namespace {

cudaStream_t stream_of(DeviceStream stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t event_of(DeviceEvent event) { return static_cast<cudaEvent_t>(event); }

class CudaDevice final : public DeviceApi {
 public:
  void* allocate(std::size_t bytes) override {
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, bytes), "cudaMalloc");
    auto result = cudaMemset(memory, 0, bytes);
    // It runs beside other streams, which may write there at once.
    if (result == cudaSuccess) result = cudaStreamSynchronize(cudaStreamLegacy);
    if (result != cudaSuccess) (void)cudaFree(memory);
    check_cuda(result, "cudaMemset");
    return memory;
  }
  void release(void* memory) noexcept override { (void)cudaFree(memory); }

  void copy_to_host(void* to, const void* from, std::size_t bytes, DeviceStream stream) override {
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_of(stream)),
               "cudaMemcpyAsync");
  }
  void copy_to_device(void* to, const void* from, std::size_t bytes, DeviceStream stream) override {
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_of(stream)),
               "cudaMemcpyAsync");
  }
  void copy_within(void* to, const void* from, std::size_t bytes, DeviceStream stream) override {
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(stream)),
               "cudaMemcpyAsync");
  }
  bool pin(void* memory, std::size_t bytes) noexcept override {
    if (cudaHostRegister(memory, bytes, cudaHostRegisterDefault) == cudaSuccess) return true;
    (void)cudaGetLastError();  // or the next kernel's launch would be blamed for it
    return false;
  }
  void unpin(void* memory) noexcept override { (void)cudaHostUnregister(memory); }

  DeviceStream make_stream() override {
    int least = 0, greatest = 0;
    check_cuda(cudaDeviceGetStreamPriorityRange(&least, &greatest),
               "cudaDeviceGetStreamPriorityRange");
    cudaStream_t stream = nullptr;
    check_cuda(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest),
               "cudaStreamCreateWithPriority");
    return stream;
  }
  void end_stream(DeviceStream stream) noexcept override {
    (void)cudaStreamDestroy(stream_of(stream));
  }

  DeviceEvent make_event() override {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming),
               "cudaEventCreateWithFlags");
    return event;
  }
  DeviceEvent make_timer() override {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreate(&event), "cudaEventCreate");
    return event;
  }
  double seconds_between(DeviceEvent begin, DeviceEvent end) override {
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, event_of(begin), event_of(end)),
               "cudaEventElapsedTime");
    return milliseconds * 1e-3;
  }
  void end_event(DeviceEvent event) noexcept override { (void)cudaEventDestroy(event_of(event)); }

  void record(DeviceEvent event, DeviceStream stream) override {
    check_cuda(cudaEventRecord(event_of(event), stream_of(stream)), "cudaEventRecord");
  }
  void wait(DeviceStream stream, DeviceEvent event) override {
    check_cuda(cudaStreamWaitEvent(stream_of(stream), event_of(event), 0), "cudaStreamWaitEvent");
  }
  bool is_done(DeviceEvent event) override {
    const auto result = cudaEventQuery(event_of(event));
    if (result == cudaErrorNotReady) {
      (void)cudaGetLastError();  // it is no error
      return false;
    }
    check_cuda(result, "cudaEventQuery");
    return true;
  }
};

}  // namespace

std::unique_ptr<DeviceApi> cuda_device() { return std::make_unique<CudaDevice>(); }

}  // namespace lockstep::comm
