#include "comm/loaded_libraries.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lockstep::comm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr char kMaps[] =
    "7f0000000000-7f0000001000 r--p 00000000 08:01 11   /opt/a/libnccl.so.2\n"
    "7f0000001000-7f0000002000 r-xp 00001000 08:01 11   /opt/a/libnccl.so.2\n"
    "7f0000002000-7f0000003000 rw-p 00000000 00:00 0\n"
    "7f0000003000-7f0000004000 r--p 00000000 08:01 12   /opt/my libs/libnccl.so.2.28\n"
    "7f0000004000-7f0000005000 r--p 00000000 08:01 13   /opt/libnccl.so/libc.so.6\n"
    "7ffe00000000-7ffe00001000 rw-p 00000000 00:00 0    [stack]";

TEST(MappedFiles, AreNamedOnceEach) {
  EXPECT_THAT(mapped_files(kMaps, "libnccl.so"),
              ElementsAre("/opt/a/libnccl.so.2", "/opt/my libs/libnccl.so.2.28"));
  EXPECT_THAT(mapped_files(kMaps, "libcudart"), IsEmpty());
  EXPECT_THAT(mapped_files("", "libc"), IsEmpty());
}

TEST(MappedFiles, OfThisProcessAreThere) { EXPECT_EQ(own_mapped_files("libc.so").size(), 1u); }

}  // namespace
}  // namespace lockstep::comm
