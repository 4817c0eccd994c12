#include "comm/process_liveness.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace lockstep::comm {
namespace {

TEST(ProcessLiveness, SeesThatThisProcessLives) {
  const auto process = this_process();

  EXPECT_EQ(process.pid, ::getpid());
  EXPECT_NE(process.start_time, 0U);
  EXPECT_TRUE(is_alive(process));
}

TEST(ProcessLiveness, CountsAZombieAndAReapedProcessAsDead) {
  const auto child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  ASSERT_GT(child, 0);
  const ProcessIdentity process{.pid = child};
  EXPECT_TRUE(is_alive(process));

  ::kill(child, SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(is_alive(process));

  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(is_alive(process));
}

TEST(ProcessLiveness, IsNotFooledByALaterProcessWithTheSamePid) {
  auto process = this_process();
  process.start_time -= 1;

  EXPECT_FALSE(is_alive(process));
}

}  // namespace
}  // namespace lockstep::comm
