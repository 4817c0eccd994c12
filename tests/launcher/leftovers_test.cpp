#include "launcher/drills/leftovers.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <fstream>

#include "tests/support/temporary_directory.hpp"

namespace lockstep::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Leftovers, AreProcessesWhoseStarterHasGone) {
  adopt_orphans();
  std::array<int, 2> pipe_ends{};
  ASSERT_EQ(::pipe2(pipe_ends.data(), O_CLOEXEC), 0);
  if (::fork() == 0) {
    if (::fork() == 0) {
      ::execl("/bin/sleep", "sleep", "100", nullptr);
      ::_exit(1);
    }
    ::_exit(0);
  }
  ::close(pipe_ends[1]);
  // Both have let go of the pipe, one by its end, one as it became sleep.
  char byte = 0;
  ASSERT_EQ(::read(pipe_ends[0], &byte, 1), 0);
  ::close(pipe_ends[0]);

  const auto left = processes_left(std::chrono::milliseconds(0));

  ASSERT_EQ(left.size(), 1u);
  EXPECT_THAT(left[0], HasSubstr("(sleep 100)"));
  EXPECT_THAT(processes_left(std::chrono::seconds(10)), IsEmpty()) << "it was not ended";
}

TEST(Leftovers, AreSegmentsThatNobodyUses) {
  const tests::TemporaryDirectory directory;
  const auto make = [&](const char* name) { std::ofstream(directory.file(name)) << "state"; };
  make("older");
  const auto before = segments_in(directory.path());
  make("orphan");
  make("held");
  const int held = ::open(directory.file("held").c_str(), O_RDONLY);

  const auto left = segments_left(before, std::chrono::milliseconds(0), directory.path());

  EXPECT_THAT(left, ElementsAre(directory.file("orphan") + " (5 bytes)"));
  ::close(held);
}

}  // namespace
}  // namespace lockstep::launcher
