// Jobs under a real mpirun that end badly: how fast, with which code and text, and what they leave.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/temporary_directory.hpp"

namespace lockstep::comm {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

struct Ending {
  int exit_code;
  std::string output;
  std::chrono::steady_clock::duration duration;
};

Ending run(const std::string& command) {
  const auto start = std::chrono::steady_clock::now();
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  std::string output;
  std::array<char, 4096> buffer;
  while (const auto count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), count);
  }
  const int status = ::pclose(pipe);
  return {.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .output = output,
          .duration = std::chrono::steady_clock::now() - start};
}

Ending run_scenario(int ranks, const std::string& arguments) {
  return run(LOCKSTEP_MPIEXEC " " + std::to_string(ranks) + " " LOCKSTEP_SCENARIO " " + arguments);
}

int segments_left() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    if (entry.path().filename().string().starts_with("lockstep-")) ++count;
  }
  return count;
}

TEST(Launch, EndsWithinSecondsOfARanksDeathAndLeavesNoSegmentBehind) {
  const int before = segments_left();

  const auto ending = run_scenario(3, "killed");

  EXPECT_NE(ending.exit_code, 0) << ending.output;
  EXPECT_LT(ending.duration, std::chrono::seconds(15)) << ending.output;
  EXPECT_LE(segments_left(), before);
}

TEST(Launch, TellsTheWaitingRankWhichProcessDied) {
  const tests::TemporaryDirectory directory;

  const auto ending = run_scenario(2, "killed_in_barrier " + directory.file("told"));

  EXPECT_NE(ending.exit_code, 0);
  std::ifstream file(directory.file("told"));
  const std::string told((std::istreambuf_iterator<char>(file)), {});
  EXPECT_THAT(told,
              MatchesRegex("rank 1 \\(pid [0-9]+\\) is dead, and rank 0 waited for it in node "
                           "barrier 'gradients ready' .*\n"))
      << ending.output;
}

TEST(Launch, EndsWithTheReasonAndTheCodeOfTheRankThatFailed) {
  const auto ending = run_scenario(3, "data_error");

  EXPECT_EQ(ending.exit_code, 3) << ending.output;
  EXPECT_THAT(ending.output, HasSubstr("rank 2: row 7 is damaged"));
}

TEST(Launch, RefusesALauncherThatStartedMoreProcessesThanMpiSees) {
  const auto ending = run(LOCKSTEP_SCENARIO " mismatch");

  EXPECT_EQ(ending.exit_code, 4) << ending.output;
  EXPECT_THAT(ending.output, HasSubstr("the launcher started 4 processes and MPI sees 1"));
  EXPECT_THAT(ending.output, HasSubstr("'srun --mpi=pmix'"));
}

}  // namespace
}  // namespace lockstep::comm
