// The kernels of a training step have the bits of their references on the CPU.

#include <array>
#include <cmath>
#include <cstring>

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

TEST_F(StepKernels, WriteShortCopiesAsTheReferenceDoes) {
  constexpr std::size_t kCount = 100'004;
  const Optimizer optimizer({.kind = OptimizerKind::kAdamW, .weight_decay = 0.01});
  for (const auto type : {ShortType::kBFloat16, ShortType::kFloat16}) {
    auto parameters = numbers(kCount, 0.1F, 100);
    const auto gradients = numbers(kCount, 0.4F);
    std::vector<float> first(kCount), second(kCount), room(kCount / 2);
    std::array<float*, 2> on_gpu{on_device(first), on_device(second)};
    std::array<float*, 2> on_cpu{first.data(), second.data()};
    auto *moved = on_device(parameters), *shorts = on_device(room);
    kernels_->update(optimizer.numbers(0, 1e-2), on_device(std::vector<float>{1.0F}), moved,
                     on_device(gradients), on_gpu.data(), {shorts, type}, kCount, stream_);
    optimizer.update(0, 1e-2, 1.0F, parameters.data(), gradients.data(), on_cpu.data(), kCount);
    std::vector<float> right(kCount / 2);
    reference_shorten(parameters.data(), {right.data(), type}, kCount);
    const auto written = on_host(shorts, kCount / 2);
    EXPECT_EQ(std::memcmp(written.data(), right.data(), kCount * 2), 0);

    auto* again = on_device(room);
    kernels_->shorten(moved, {again, type}, kCount, stream_);
    const auto shortened = on_host(again, kCount / 2);
    EXPECT_EQ(std::memcmp(shortened.data(), right.data(), kCount * 2), 0);
  }
}

TEST_F(StepKernels, LeaveAllAsItIsWhereTheNormIsNoNumber) {
  auto* squares = static_cast<double*>(device_->allocate(sizeof(double)));
  const double infinite = HUGE_VAL;
  comm::check_cuda(cudaMemcpy(squares, &infinite, sizeof infinite, cudaMemcpyHostToDevice),
                   "cudaMemcpy");
  auto* scale = on_device(std::vector<float>{1.0F});
  kernels_->scale(squares, 1, {.divisor = 4, .leaves_out_overflows = true}, scale, stream_);
  EXPECT_EQ(on_host(scale, 1)[0], 0);
  const auto values = numbers(64, 1);
  auto* kept = on_device(values);
  kernels_->update(Optimizer({.kind = OptimizerKind::kSgd}).numbers(0, 0.1), scale, kept,
                   on_device(numbers(64, 2)), nullptr, {}, 64, stream_);
  kernels_->add_scaled(kept, on_device(numbers(64, 3)), 1.0F, scale, 64, stream_);
  EXPECT_EQ(on_host(kept, 64), values);
  device_->release(squares);
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
