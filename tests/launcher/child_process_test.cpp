#include "launcher/child_process.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "base/error.hpp"
#include "launcher/scratch_folder.hpp"

namespace lockstep::launcher {
namespace {

using testing::HasSubstr;

ChildOptions shell(const std::string& script) {
  return {{"/bin/sh", "-c", script}, {{"PATH", "/usr/bin:/bin"}}, std::chrono::milliseconds(200)};
}

/// Waits for the descriptor; fails the test when nothing comes.
void wait_for(int descriptor) {
  pollfd polled{descriptor, POLLIN, 0};
  ASSERT_EQ(poll(&polled, 1, 20'000), 1) << "nothing happened in 20 s";
}

ChildEnd end_of(ChildProcess& child) {
  for (;;) {
    if (const auto end = child.ended()) return *end;
    wait_for(child.events());
    if (testing::Test::HasFatalFailure()) return {};
  }
}

std::string line_from(ChildProcess& child) {
  std::string line;
  while (!line.ends_with('\n')) {
    wait_for(child.messages());
    if (testing::Test::HasFatalFailure()) return line;
    char c = 0;
    if (read(child.messages(), &c, 1) != 1) return line;
    line += c;
  }
  line.pop_back();
  return line;
}

bool is_alive(int pid) { return kill(pid, 0) == 0; }

/// Until a process that is not ours to reap has gone.
void expect_gone(int pid) {
  for (int tries = 0; is_alive(pid); ++tries) {
    ASSERT_LT(tries, 2000) << "process " << pid << " is still there after 20 s";
    poll(nullptr, 0, 10);
  }
}

TEST(ChildProcess, TellsTheExitCode) {
  ChildProcess child(shell("exit 6"));

  const auto end = end_of(child);

  EXPECT_FALSE(end.signalled);
  EXPECT_EQ(end.value, 6);
}

TEST(ChildProcess, TellsTheSignal) {
  ChildProcess child(shell("kill -SEGV $$"));

  const auto end = end_of(child);

  EXPECT_TRUE(end.signalled);
  EXPECT_EQ(end.value, SIGSEGV);
}

TEST(ChildProcess, TakesItsScratchFolderAlong) {
  auto options = shell("echo segment > $PLACE/segment; echo made >&2; exec sleep 100");
  options.scratch_path = make_scratch_folder();
  ASSERT_NE(options.scratch_path, "");
  options.environment["PLACE"] = options.scratch_path;
  {
    ChildProcess child(options);
    ASSERT_EQ(line_from(child), "made");
    kill(child.pid(), SIGKILL);  // mpirun, when it is killed, leaves what it made

    EXPECT_EQ(end_of(child).value, SIGKILL);
  }

  EXPECT_NE(access(options.scratch_path.c_str(), F_OK), 0);
}

TEST(ScratchFolder, IsRemovedLaterWhenItsGuardWasKilled) {
  const auto abandoned = make_scratch_folder();
  const auto held = make_scratch_folder();
  const ScratchFolder holder(held);
  const auto new_one = make_scratch_folder();
  const timespec long_ago[2] = {{1, 0}, {1, 0}};
  for (const auto& path : {abandoned, held}) {
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), long_ago, 0), 0);
  }

  const ScratchFolder next(make_scratch_folder());

  EXPECT_NE(access(abandoned.c_str(), F_OK), 0);
  EXPECT_EQ(access(held.c_str(), F_OK), 0);
  EXPECT_EQ(access(new_one.c_str(), F_OK), 0) << "nobody had the time to hold it";
  rmdir(new_one.c_str());
}

TEST(ChildProcess, HandsTheMessagesOver) {
  ChildProcess child(shell("echo hello >&2"));

  EXPECT_EQ(line_from(child), "hello");
  EXPECT_EQ(end_of(child).value, 0);
}

TEST(ChildProcess, GivesExactlyTheEnvironmentItWasGiven) {
  auto options = shell("echo $COLOR:$HOME >&2");
  options.environment["COLOR"] = "amber";
  ChildProcess child(options);

  EXPECT_EQ(line_from(child), "amber:");
}

TEST(ChildProcess, HasNoInput) {
  ChildProcess child(shell("read line || exit 9"));

  EXPECT_EQ(end_of(child).value, 9);
}

TEST(ChildProcess, SaysWhyAProgramCannotStart) {
  try {
    ChildProcess child({{"/no/such/program"}, {}, std::chrono::milliseconds(200)});
    FAIL() << "nothing was thrown";
  } catch (const base::EnvironmentError& error) {
    EXPECT_STREQ(error.what(),
                 "'/no/such/program' cannot be started (No such file or directory); check that it "
                 "exists and may be run, then 'lockstep doctor'");
  }
}

TEST(ChildProcess, PassesSignalsToTheCommand) {
  ChildProcess child(shell("trap 'exit 75' USR1; echo ready >&2; while :; do sleep 0.01; done"));
  ASSERT_EQ(line_from(child), "ready");

  child.signal(SIGUSR1);

  EXPECT_EQ(end_of(child).value, 75);
}

TEST(ChildProcess, KillsWhatDoesNotListen) {
  ChildProcess child(shell("trap '' TERM; echo ready >&2; while :; do sleep 0.01; done"));
  ASSERT_EQ(line_from(child), "ready");

  child.stop();

  const auto end = end_of(child);
  EXPECT_TRUE(end.signalled);
  EXPECT_EQ(end.value, SIGKILL);
}

TEST(ChildProcess, LeavesNoGrandchildWhenTheCommandEnds) {
  // The grandchild is orphaned, in a session of its own, and deaf to SIGTERM.
  ChildProcess child(
      shell("setsid sh -c 'trap \"\" TERM; echo $$ >&2; while :; do sleep 0.01; done' & sleep 0.1; "
            "exit 3"));
  const int grandchild = std::stoi(line_from(child));

  EXPECT_EQ(end_of(child).value, 3);

  EXPECT_FALSE(is_alive(grandchild));
}

TEST(ChildProcess, TakesEverythingWithItWhenItGoes) {
  int grandchild = 0;
  int command = 0;
  {
    ChildProcess child(shell("sleep 600 & echo $! >&2; wait"));
    grandchild = std::stoi(line_from(child));
    command = child.pid();
  }

  EXPECT_FALSE(is_alive(grandchild));
  EXPECT_FALSE(is_alive(command));
}

TEST(ChildProcess, LeavesNothingBehindWhenItsOwnerIsKilled) {
  std::array<int, 2> told{};
  ASSERT_EQ(pipe(told.data()), 0);
  const pid_t owner = fork();
  if (owner == 0) {
    ChildProcess child(shell("sleep 600 & echo $! >&2; wait"));
    const int pids[2] = {child.pid(), std::stoi(line_from(child))};
    if (write(told[1], pids, sizeof pids) != sizeof pids) _exit(1);
    pause();
    _exit(0);
  }
  int pids[2] = {0, 0};
  ASSERT_EQ(read(told[0], pids, sizeof pids), static_cast<ssize_t>(sizeof pids));
  ASSERT_TRUE(is_alive(pids[0]) && is_alive(pids[1]));

  kill(owner, SIGKILL);
  waitpid(owner, nullptr, 0);

  expect_gone(pids[0]);
  expect_gone(pids[1]);
  close(told[0]);
  close(told[1]);
}

TEST(ChildProcess, EndsTheCommandWhenTheGuardIsKilled) {
  ChildProcess child(shell("echo $PPID >&2; exec sleep 600"));
  const int guard = std::stoi(line_from(child));
  const int command = child.pid();

  kill(guard, SIGKILL);

  const auto end = end_of(child);
  EXPECT_TRUE(end.signalled);
  expect_gone(command);
}

TEST(DescendantsOf, FindsChildrenAndTheirChildren) {
  ChildProcess child(shell("sh -c 'sleep 600 & echo $! >&2; wait' & wait"));
  const int deepest = std::stoi(line_from(child));

  const auto found = descendants_of(getpid());

  EXPECT_THAT(found, testing::Contains(child.pid()));
  EXPECT_EQ(found.back(), deepest);
}

}  // namespace
}  // namespace lockstep::launcher
