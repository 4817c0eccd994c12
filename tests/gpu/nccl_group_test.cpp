// The real NCCL behind NcclGroup, on one rank: a machine with one GPU has no more.

#include "comm/nccl_group.hpp"

#include "comm/nccl_library.hpp"
#include "comm/serial_communicator.hpp"
#include "tests/gpu/gpu_test.hpp"

namespace lockstep::comm {
namespace {

class NcclOnAGpu : public tests::GpuTest {};

TEST_F(NcclOnAGpu, DoesAllThatAGroupOfOneCan) {
  SerialCommunicator control;
  control.set_deadline(std::chrono::seconds(30));
  NcclGroup group(nccl_library(), *device_, control);
  const std::vector<float> values{1, 2, 3, 4};
  auto* in = on_device(values);
  auto* out = on_device(std::vector<float>(4));

  group.all_reduce(in, out, 4, DeviceType::kFloat32, ReduceOp::kSum, "sum");
  group.wait("sum");
  EXPECT_EQ(on_host(out, 4), values);
  group.reduce_scatter(in, out, 4, DeviceType::kFloat32, ReduceOp::kMax, "scatter");
  group.all_gather(out, in, 4, DeviceType::kFloat32, "gather");
  group.broadcast(in, 4, DeviceType::kFloat32, 0, "broadcast");
  group.begin_after(stream_);
  group.finish_before(stream_);
  group.barrier("end");
  EXPECT_EQ(on_host(in, 4), values);

  const auto part = group.split(control);
  part->all_reduce(in, in, 4, DeviceType::kFloat32, ReduceOp::kSum, "of a part");
  part->barrier("end of a part");
  EXPECT_EQ(on_host(in, 4), values);
}

}  // namespace
}  // namespace lockstep::comm
