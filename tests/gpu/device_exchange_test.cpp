// Gradients through the real device, NCCL and kernel, on one rank with many micro-batches.

#include "comm/device_exchange.hpp"

#include "comm/cuda_fold.hpp"
#include "comm/nccl_library.hpp"
#include "comm/serial_communicator.hpp"
#include "tests/gpu/gpu_test.hpp"

namespace lockstep::comm {
namespace {

class ExchangeOnAGpu : public tests::GpuTest {};

TEST_F(ExchangeOnAGpu, LeavesTheSumsOfAllPartials) {
  SerialCommunicator control;
  NcclGroup group(nccl_library(), *device_, control);
  const auto fold = cuda_fold();
  constexpr std::int64_t kFloats = 1'000'000;
  DeviceExchange exchange(group, *device_, *fold,
                          {.buckets = {.floats = kFloats, .bucket_floats = 300'000},
                           .leaves = 7,
                           .leaves_of_rank = {{0, 7}}});
  ASSERT_EQ(exchange.subtrees().size(), 1u);
  std::vector<float> gradient(static_cast<std::size_t>(exchange.floats()));
  for (std::size_t i = 0; i < kFloats; ++i) gradient[i] = static_cast<float>(i) / 3;
  check_cuda(cudaMemcpy(exchange.partial(0), gradient.data(), gradient.size() * sizeof(float),
                        cudaMemcpyHostToDevice),
             "cudaMemcpy");
  check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");

  exchange.ready(kFloats / 2, stream_);
  exchange.ready_all(stream_);
  auto* sums = exchange.sums(stream_);
  exchange.gather(sums, stream_);

  EXPECT_EQ(on_host(sums, gradient.size()), gradient);
  group.barrier("end");
}

}  // namespace
}  // namespace lockstep::comm
