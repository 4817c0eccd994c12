#pragma once
// What tests on a GPU share. Without one they are skipped, and only then.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <span>
#include <vector>

#include "comm/cuda_check.hpp"
#include "comm/cuda_device.hpp"

namespace lockstep::tests {

class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) GTEST_SKIP() << "no GPU";
    device_ = comm::cuda_device();
    stream_ = device_->make_stream();
  }
  void TearDown() override {
    if (!device_) return;
    for (auto* memory : allocated_) device_->release(memory);
    device_->end_stream(stream_);
  }

  float* on_device(std::span<const float> values) {
    auto* memory = static_cast<float*>(device_->allocate(values.size_bytes()));
    allocated_.push_back(memory);
    comm::check_cuda(cudaMemcpy(memory, values.data(), values.size_bytes(), cudaMemcpyHostToDevice),
                     "cudaMemcpy");
    // From memory that is not pinned it may go on after the call, beside other streams.
    comm::check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    return memory;
  }
  /// After all that is in any stream.
  std::vector<float> on_host(const float* memory, std::size_t count) {
    comm::check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    std::vector<float> values(count);
    comm::check_cuda(
        cudaMemcpy(values.data(), memory, count * sizeof(float), cudaMemcpyDeviceToHost),
        "cudaMemcpy");
    return values;
  }

  std::unique_ptr<comm::DeviceApi> device_;
  comm::DeviceStream stream_ = nullptr;

 private:
  std::vector<float*> allocated_;
};

}  // namespace lockstep::tests
