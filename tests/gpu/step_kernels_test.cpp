// The kernels of a training step have the bits of their references on the CPU.

#include <array>
#include <cmath>

#include "tests/gpu/gpu_test.hpp"
#include "trainer/cuda_kernels.hpp"
#include "trainer/device_reference.hpp"
#include "trainer/optimizer.hpp"

namespace lockstep::trainer {
namespace {

std::vector<float> numbers(std::size_t count, float phase, float size = 1) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = size * std::sin(static_cast<float>(i) * 0.37F + phase);
  }
  return values;
}

class StepKernels : public tests::GpuTest {
 protected:
  void SetUp() override {
    tests::GpuTest::SetUp();
    if (!IsSkipped()) kernels_ = cuda_kernels();
  }
  std::unique_ptr<DeviceKernels> kernels_;
};

TEST_F(StepKernels, SumSquaresAndScaleAsTheReferencesDo) {
  for (const std::int64_t length : {64, 1024, 243'712}) {
    constexpr std::int64_t kBlocks = 7;
    const auto values = numbers(static_cast<std::size_t>(length * kBlocks), 0.5F, 3);
    auto* squares = static_cast<double*>(device_->allocate(kBlocks * sizeof(double)));
    auto* scale = on_device(std::vector<float>(1));
    std::vector<double> right;
    for (std::int64_t block = 0; block < kBlocks; ++block) {
      right.push_back(reference_squares(values.data() + block * length, length));
    }

    kernels_->squares(on_device(values), length, kBlocks, squares, stream_);
    std::vector<double> found(kBlocks);
    comm::check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    comm::check_cuda(
        cudaMemcpy(found.data(), squares, kBlocks * sizeof(double), cudaMemcpyDeviceToHost),
        "cudaMemcpy");
    EXPECT_EQ(found, right) << length;

    for (const double clip : {0.0, 0.5, 1e9}) {
      const GradientScale how{.divisor = 6, .clip_norm = clip};
      kernels_->scale(squares, kBlocks, how, scale, stream_);
      EXPECT_EQ(on_host(scale, 1)[0], reference_scale(right.data(), kBlocks, how)) << clip;
    }
    device_->release(squares);
  }
}

TEST_F(StepKernels, UpdateAsTheCpuDoes) {
  constexpr std::size_t kCount = 100'004;
  const std::vector<OptimizerOptions> all{
      {.kind = OptimizerKind::kSgd, .weight_decay = 0.01},
      {.kind = OptimizerKind::kSgd, .momentum = 0.9},
      {.kind = OptimizerKind::kSgd, .momentum = 0.9, .nesterov = true, .weight_decay = 0.1},
      {.kind = OptimizerKind::kAdam, .weight_decay = 0.01},
      {.kind = OptimizerKind::kAdamW, .weight_decay = 0.01}};
  for (const auto& options : all) {
    const Optimizer optimizer(options);
    auto parameters = numbers(kCount, 0.1F), first = numbers(kCount, 0.2F, 0.1F);
    auto second = numbers(kCount, 0.3F, 0.01F);
    for (auto& value : second) value = std::abs(value);
    const auto gradients = numbers(kCount, 0.4F);
    std::array<float*, 2> on_gpu{on_device(first), on_device(second)};
    std::array<float*, 2> on_cpu{first.data(), second.data()};
    auto* moved = on_device(parameters);

    kernels_->update(optimizer.numbers(3, 1e-2), on_device(std::vector<float>{0.25F}), moved,
                     on_device(gradients), on_gpu.data(), {}, kCount, stream_);
    optimizer.update(3, 1e-2, 0.25F, parameters.data(), gradients.data(), on_cpu.data(), kCount);

    EXPECT_EQ(on_host(moved, kCount), parameters);
    EXPECT_EQ(on_host(on_gpu[0], kCount), first);
    EXPECT_EQ(on_host(on_gpu[1], kCount), second);
  }
}

TEST_F(StepKernels, MoveBuffersByTheirMeanChange) {
  auto values = numbers(1001, 1);
  const auto changes = numbers(1001, 2);
  auto* moved = on_device(values);
  auto* scale = on_device(std::vector<float>{0.5F});
  kernels_->add_scaled(moved, on_device(changes), 0.125F, scale, 1001, stream_);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += changes[i] * 0.125F;
  EXPECT_EQ(on_host(moved, 1001), values);
}

}  // namespace
}  // namespace lockstep::trainer
