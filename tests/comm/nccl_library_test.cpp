// The real library, without a GPU: what it can say, and that what it cannot do is said.

#include "comm/nccl_library.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "comm/cuda_device.hpp"
#include "comm/loaded_libraries.hpp"

namespace lockstep::comm {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

TEST(NcclLibrary, IsTheOneThatThisWasBuiltWithAndTheOnlyOne) {
  const auto nccl = nccl_library();

  EXPECT_GE(nccl->version(), 22000);
  EXPECT_THAT(own_mapped_files("libnccl.so"), SizeIs(1));
}

TEST(CudaDevice, MakesAnEventOrSaysWhyItCannotWithoutAGpu) {
  const auto device = cuda_device();
  if (base::FileSystem::posix().exists("/proc/driver/nvidia/version")) {
    device->end_event(device->make_event());
    return;
  }
  try {
    device->make_event();
    ADD_FAILURE() << "an event of no device";
  } catch (const base::DeviceError& error) {
    EXPECT_THAT(error.what(), HasSubstr("cudaEventCreateWithFlags failed (CUDA: cudaError"));
  }
}

}  // namespace
}  // namespace lockstep::comm
