#include "launcher/supervise.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include "tests/support/temporary_directory.hpp"

namespace lockstep::launcher {
namespace {

using testing::HasSubstr;

class Supervise : public testing::Test {
 protected:
  Supervise() {
    options_.events_path = directory_.file("events.jsonl");
    options_.environment = {{"PATH", "/usr/bin:/bin"}, {"EVENTS", options_.events_path}};
    options_.grace = std::chrono::milliseconds(200);
    options_.print = [this](std::string_view text) {
      printed_ += text;
      if (on_print_) on_print_();
    };
  }

  /// `all_here`: the script's processes must appear on the board, as workers do.
  LaunchEnd run(const std::string& script, bool all_here = false) {
    LaunchPlan plan;
    plan.all_here = all_here;
    plan.argv = {"/bin/sh", "-c", script};
    return Supervisor(options_).run(plan);
  }

  /// Sends `signals` to this process, the first when the script says "ready" and each further one
  /// when the supervisor has taken the one before.
  void send_when_ready(std::vector<int> signals) {
    on_print_ = [this, signals, sent = std::size_t{0}]() mutable {
      const bool ready = printed_.find("ready") != std::string::npos;
      const bool taken = printed_.find("stopping") != std::string::npos;
      if (sent < signals.size() && (sent == 0 ? ready : taken)) kill(getpid(), signals[sent++]);
    };
  }

  tests::TemporaryDirectory directory_;
  SuperviseOptions options_;
  std::string printed_;
  std::function<void()> on_print_;
};

TEST_F(Supervise, EndsWithZeroWhenTheRanksDo) {
  const auto end = run("exit 0");

  EXPECT_EQ(end.exit_code, 0);
  EXPECT_FALSE(end.verdict);
}

TEST_F(Supervise, PassesEveryKnownExitCodeOn) {
  for (const int code : {1, 2, 3, 4, 5, 6, 7, 8, 75, 124, 130, 143}) {
    EXPECT_EQ(run("exit " + std::to_string(code)).exit_code, code);
  }
}

TEST_F(Supervise, TurnsAForeignExitCodeIntoFailed) {
  const auto end = run("exit 42");

  EXPECT_EQ(end.exit_code, 1);
  EXPECT_EQ(end.verdict->message, "rank 0 ended with code 42 and left no reason");
}

TEST_F(Supervise, PassesTheMessagesOn) {
  run("echo 'rank 0: error: it broke' >&2; exit 1");

  EXPECT_THAT(printed_, HasSubstr("rank 0: error: it broke\n"));
}

TEST_F(Supervise, PrefersTheCodeAndTheReasonThatTheRanksAgreedOn) {
  const auto end =
      run("echo '{\"event\":\"failure\",\"cause\":\"data\",\"rank\":1,\"message\":\"file gone\","
          "\"exit_code\":3}' >> $EVENTS; echo '{\"event\":\"end\",\"exit_code\":3}' >> $EVENTS; "
          "exit 1");

  EXPECT_EQ(end.exit_code, 3);
  EXPECT_EQ(end.verdict->cause, "data");
  EXPECT_EQ(end.verdict->message, "file gone");
}

TEST_F(Supervise, DoesNotTakeTheVerdictOfAnEarlierLaunch) {
  std::ofstream(options_.events_path) << "{\"event\":\"failure\",\"cause\":\"old\"}\n";

  EXPECT_EQ(run("exit 4").verdict->cause, "exit");
}

TEST_F(Supervise, NamesTheSignalThatKilledARank) {
  const auto end = run("kill -9 $$");

  EXPECT_EQ(end.exit_code, 1);
  EXPECT_EQ(end.verdict->cause, "killed");
  EXPECT_EQ(end.verdict->message, "rank 0 killed by signal 9 (Killed)");
  EXPECT_THAT(end.verdict->advice, HasSubstr("Out of memory"));
}

constexpr char kStoppable[] =
    "trap 'echo stopped >&2; exit 75' USR1; echo ready >&2; while :; do sleep 0.01; done";

TEST_F(Supervise, TurnsTheFirstStopSignalIntoAnOrderlyStop) {
  for (const int number : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT}) {
    printed_.clear();
    send_when_ready({number});

    const auto end = run(kStoppable);

    EXPECT_EQ(end.exit_code, 75) << number;
    EXPECT_EQ(end.stop_signal, number);
    EXPECT_FALSE(end.verdict);
    EXPECT_THAT(printed_, HasSubstr("stopping: the ranks finish their step and save"));
    EXPECT_THAT(printed_, HasSubstr("stopped\n"));
  }
}

// A rank that was frozen before it had a place on the board was waited for without end.
TEST_F(Supervise, EndsALaunchWhoseRanksNeverStart) {
  const std::string deaf = "trap '' USR1; echo ready >&2; while :; do sleep 0.01; done";
  send_when_ready({SIGTERM});
  EXPECT_EQ(run(deaf, true).exit_code, 143);
  EXPECT_THAT(printed_, HasSubstr("not all ranks were there yet"));

  on_print_ = {};
  options_.hang.longest = std::chrono::milliseconds(300);
  const auto end = run(deaf, true);
  EXPECT_EQ(end.exit_code, 1);
  ASSERT_TRUE(end.verdict);
  EXPECT_EQ(end.verdict->message, "not all ranks have started within 300ms");
}

TEST_F(Supervise, KillsAtTheSecondStopSignal) {
  const std::string deaf = "trap '' USR1 TERM; echo ready >&2; while :; do sleep 0.01; done";

  send_when_ready({SIGINT, SIGINT});
  EXPECT_EQ(run(deaf).exit_code, 130);

  printed_.clear();
  send_when_ready({SIGTERM, SIGINT});
  EXPECT_EQ(run(deaf).exit_code, 143);
}

TEST_F(Supervise, AsksTheRanksToStopBeforeTheWallLimit) {
  options_.wall_limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);

  const auto end = run("trap 'exit 75' USR1; echo ready >&2; while :; do sleep 0.01; done");

  EXPECT_EQ(end.exit_code, 75);
  EXPECT_THAT(printed_, HasSubstr("the wall limit is near"));
}

TEST_F(Supervise, EndsWithItsOwnCodeWhenTheWallLimitComesBeforeTheStateIsSaved) {
  options_.wall_limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);

  EXPECT_EQ(run("trap '' USR1; while :; do sleep 0.01; done").exit_code, 124);
  EXPECT_THAT(printed_, HasSubstr("the wall limit is reached"));
}

TEST_F(Supervise, CountsADeathByTheStopItselfAsInterrupted) {
  // A rank that has not set its handlers yet dies of SIGUSR1.
  send_when_ready({SIGINT});
  EXPECT_EQ(run("echo ready >&2; while :; do sleep 0.01; done").exit_code, 130);
}

TEST_F(Supervise, LeavesDoneAsDoneWhenTheRanksWereFasterThanTheStop) {
  send_when_ready({SIGTERM});
  EXPECT_EQ(run("trap 'exit 0' USR1; echo ready >&2; while :; do sleep 0.01; done").exit_code, 0);
}

TEST_F(Supervise, LeavesNoProcessBehindWhenARankFails) {
  run("sleep 600 & echo $! > " + directory_.file("pid") + "; exit 5");

  int pid = 0;
  std::ifstream(directory_.file("pid")) >> pid;
  ASSERT_GT(pid, 0);
  EXPECT_NE(kill(pid, 0), 0);
}

LaunchFacts failed_under_mpirun(int code) {
  LaunchFacts facts;
  facts.kind = LaunchKind::kMpirun;
  facts.end = {false, code};
  return facts;
}

TEST(Judge, TakesAKilledRankAsTheRootAndItsPlaceFromTheOthers) {
  auto facts = failed_under_mpirun(137);
  facts.death = RankDeath{1, "vm", SIGKILL, 0};
  facts.verdict.emplace();
  facts.verdict->cause = "comm";
  facts.verdict->message = "rank 1 (pid 4711) is gone";
  facts.verdict->phase = "backward";
  facts.verdict->rank = 0;
  facts.verdict->step = 412;

  const auto end = judge(facts);

  EXPECT_EQ(end.exit_code, 1);
  EXPECT_EQ(end.verdict->message, "rank 1 killed by signal 9 (Killed)");
  EXPECT_EQ(end.verdict->rank, 1);
  EXPECT_EQ(end.verdict->host, "vm");
  EXPECT_EQ(end.verdict->phase, "backward");
  EXPECT_EQ(end.verdict->step, 412);
  EXPECT_EQ(end.source, VerdictSource::kBoth);
}

TEST(Judge, KeepsTheReasonOfARankThatAbortedOnPurpose) {
  auto facts = failed_under_mpirun(134);
  facts.death = RankDeath{1, "vm", SIGABRT, 0};
  facts.verdict.emplace();
  facts.verdict->message = "report this bug";

  EXPECT_EQ(judge(facts).verdict->message, "report this bug");
}

TEST(Judge, NamesTheRankThatMpirunNames) {
  auto facts = failed_under_mpirun(3);
  facts.death = RankDeath{2, "", 0, 3};

  const auto end = judge(facts);

  EXPECT_EQ(end.exit_code, 3);
  EXPECT_EQ(end.verdict->rank, 2);
  EXPECT_EQ(end.verdict->message,
            "rank 2 ended with code 3 and left no reason (data error (missing, schema, checksum))");
}

TEST(Judge, ReadsTheSignalFromMpirunsCodeWhenItsNoticeIsMissing) {
  // Open MPI 4.1 left its notice out in 2 of 12 runs.
  const auto end = judge(failed_under_mpirun(137));

  EXPECT_EQ(end.exit_code, 1);
  EXPECT_EQ(end.verdict->message, "a rank killed by signal 9 (Killed)");
  EXPECT_EQ(end.verdict->rank, -1);
}

TEST(Judge, TakesALauncherThatEndedItsRanksForAFailureUnlessSomebodyAskedForIt) {
  // A job that Slurm had put back into the queue could not start a task on the node that had died:
  // srun ended the others with SIGTERM, and the run counted as stopped by its user.
  auto facts = failed_under_mpirun(143);
  facts.kind = LaunchKind::kSrun;
  EXPECT_EQ(judge(facts).exit_code, 1);
  EXPECT_EQ(judge(facts).verdict->message, "a rank killed by signal 15 (Terminated)");

  facts.stop_requests = 1;
  EXPECT_EQ(judge(facts).exit_code, 143);
}

/// Ranks on other hosts may still note that they have lost those that were ended first.
TEST(Judge, TakesASecondStopForOneWhateverRanksSayOfEachOther) {
  LaunchFacts facts;
  facts.kind = LaunchKind::kMpirun;
  facts.stop_requests = 2;
  facts.stop_signal = SIGINT;
  facts.end = {false, 1};
  facts.verdict.emplace();
  facts.verdict->message = "rank 0 is gone";
  facts.verdict->exit_code = 1;
  EXPECT_EQ(judge(facts).exit_code, 130);
  EXPECT_FALSE(judge(facts).verdict);

  facts.verdict->exit_code = 3;
  EXPECT_EQ(judge(facts).exit_code, 3) << "data that cannot be read are its cause all the same";
}

TEST(Judge, TakesTheCodeOfAStopFromTheRunsEvents) {
  // mpirun waited a second for the other ranks of one that had ended with 75, so they end with 0.
  auto facts = failed_under_mpirun(0);
  facts.stop_requests = 1;
  facts.agreed_code = 75;
  EXPECT_EQ(judge(facts).exit_code, 75);
  EXPECT_FALSE(judge(facts).verdict.has_value());

  facts.agreed_code = 0;
  EXPECT_EQ(judge(facts).exit_code, 0);
}

TEST(Judge, NeverCallsAFailedLaunchDone) {
  auto facts = failed_under_mpirun(1);
  facts.agreed_code = 0;

  EXPECT_EQ(judge(facts).exit_code, 1);
}

TEST(Judge, TellsWhenMpirunItselfWasKilled) {
  LaunchFacts facts;
  facts.kind = LaunchKind::kMpirun;
  facts.end = {true, SIGKILL};

  EXPECT_EQ(judge(facts).verdict->message, "mpirun killed by signal 9 (Killed)");
}

}  // namespace
}  // namespace lockstep::launcher
