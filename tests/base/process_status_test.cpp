#include "base/process_status.hpp"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace lockstep::base {
namespace {

TEST(ProcessStatus, TellsOfThisProcess) {
  const auto status = process_status(::getpid());

  ASSERT_TRUE(status);
  EXPECT_EQ(status->state, 'R');
  EXPECT_EQ(status->parent, ::getppid());
  EXPECT_GE(status->cpu_ticks, 0);
  EXPECT_GT(status->start_time, 0u);
}

TEST(ProcessStatus, IsNotMisledByAName) {
  // Names may hold parentheses, spaces and newlines.
  ::prctl(PR_SET_NAME, ") Z 1\n) X");
  const auto status = process_status(::getpid());
  ::prctl(PR_SET_NAME, "test");

  ASSERT_TRUE(status);
  EXPECT_EQ(status->state, 'R');
  EXPECT_EQ(status->parent, ::getppid());
}

TEST(ProcessStatus, TellsOfAStoppedChildAndOfNoneThatHasGone) {
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  ::kill(child, SIGSTOP);
  ::waitpid(child, nullptr, WUNTRACED);
  EXPECT_EQ(process_status(child).value().state, 'T');
  EXPECT_EQ(process_status(child).value().parent, ::getpid());

  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(process_status(child));
}

}  // namespace
}  // namespace lockstep::base
