// `lockstep` must start in milliseconds and where neither MPI nor LibTorch is installed.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/captured.hpp"

namespace lockstep::launcher {
namespace {

TEST(Linkage, NeedsNeitherMpiNorTorch) {
  const auto listed = run_captured({"/usr/bin/ldd", LOCKSTEP_BINARY}, {{"PATH", "/usr/bin:/bin"}},
                                   std::chrono::seconds(20));

  ASSERT_TRUE(listed);
  ASSERT_EQ(listed->exit_code, 0) << listed->errors;
  EXPECT_THAT(listed->output, testing::HasSubstr("libhdf5"));
  for (const char* library : {"libmpi", "libopen-", "libtorch", "libc10", "libcuda", "libnccl"}) {
    EXPECT_THAT(listed->output, testing::Not(testing::HasSubstr(library)));
  }
}

}  // namespace
}  // namespace lockstep::launcher
