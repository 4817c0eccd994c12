// The fold kernel has the bits of its reference on the CPU.

#include <cmath>

#include "comm/cuda_fold.hpp"
#include "comm/fold.hpp"
#include "tests/gpu/gpu_test.hpp"

namespace lockstep::comm {
namespace {

class FoldKernel : public tests::GpuTest {};

TEST_F(FoldKernel, AddsAsTheReferenceDoes) {
  const auto fold = cuda_fold();
  for (const std::int64_t leaves : {1, 2, 3, 7, 8, 64, 200}) {
    for (const std::size_t count : {std::size_t{4}, std::size_t{1024}, std::size_t{5} << 20}) {
      if (leaves > 8 && count > 100000) continue;
      std::vector<LeafRange> ranges;
      std::vector<std::vector<float>> values;
      std::vector<const float*> host, device;
      for (std::int64_t leaf = 0; leaf < leaves; ++leaf) {
        ranges.push_back({leaf, leaf + 1});
        values.emplace_back(count);
        for (std::size_t i = 0; i < count; ++i) {
          values.back()[i] = std::sin(static_cast<float>(leaf * 7919) + static_cast<float>(i)) *
                             std::ldexp(1.0F, static_cast<int>(leaf % 7) * 5 - 15);
        }
      }
      for (const auto& each : values) {
        host.push_back(each.data());
        device.push_back(on_device(each));
      }
      const auto program = fold_program(ranges, leaves);
      std::vector<float> right(count);
      fold_partials(host, program, right.data(), 0, count);

      auto* out = on_device(right);
      check_cuda(cudaMemset(out, 0, count * sizeof(float)), "cudaMemset");
      check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
      fold->fold(device, program, out, count, stream_);

      EXPECT_EQ(on_host(out, count), right) << leaves << " leaves of " << count;
    }
  }
}

}  // namespace
}  // namespace lockstep::comm
