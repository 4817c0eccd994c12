#include "launcher/drills/observation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "launcher/drills/drill_text.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::launcher {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kDigest[] = "0123456789abcdef0123456789abcdef";

Drill a_kill() {
  return {"kill-step",
          "kill -9 of a rank",
          {{.fault = "kill rank=1 phase=step step=33"}},
          {.restarts = 1, .cause = "killed"}};
}

/// What a run leaves that recovered from it.
Observation recovered() {
  Observation observed;
  observed.exit_codes = {0};
  observed.run = DrilledRun{
      .status = "done",
      .state_digest = kDigest,
      .step = kDrillSteps,
      .restarts = 1,
      .repeated = 3,
      .events = {{.name = "start", .step = 0},
                 {.name = "failure", .cause = "killed", .rank = 1, .phase = "step", .step = 33},
                 {.name = "restart", .cause = "killed"},
                 {.name = "resume", .step = 30},
                 {.name = "end", .exit_code = 0}}};
  observed.took = std::chrono::milliseconds(1900);
  return observed;
}

std::vector<std::string> problems_of(const Observation& observed, const Drill& drill = a_kill()) {
  return differences(drill, observed, kDigest);
}

TEST(Observation, OfARecoveredRunIsAsItMustBe) {
  EXPECT_THAT(problems_of(recovered()), IsEmpty());
  EXPECT_EQ(happened(a_kill(), recovered()), "killed (rank 1, step 33), restart, on from step 30");
  auto kept = recovered();
  kept.run->events[3].from = "memory";
  EXPECT_THAT(happened(a_kill(), kept), testing::EndsWith("on from step 30 in memory"));
}

TEST(Observation, NamesEachWayInWhichARunIsOtherThanItMustBe) {
  auto observed = recovered();
  observed.exit_codes = {8};
  observed.run->status = "failed";
  observed.run->state_digest = "ffff";
  observed.run->restarts = 3;
  observed.run->unsound = "'verify' finds: ledger: BROKEN";
  observed.leftovers = {"process 12 (mpirun)"};

  EXPECT_THAT(problems_of(observed),
              ElementsAre("'lockstep train' ended with exit code 8, not 0",
                          "left behind: process 12 (mpirun)", "the run is 'failed', not 'done'",
                          "the state is ffff, undisturbed it is 0123456789abcdef",
                          "3 restarts, not 1", "'verify' finds: ledger: BROKEN"));
}

TEST(Observation, OfARunThatEndsTooEarlyIsAProblem) {
  auto observed = recovered();
  observed.run->step = 59;
  EXPECT_THAT(problems_of(observed), ElementsAre("the run ends with step 59, not 60"));
}

TEST(Observation, OfAnotherCauseIsAProblem) {
  auto observed = recovered();
  observed.run->events[1].cause = "failed";
  EXPECT_THAT(problems_of(observed),
              ElementsAre("a failure's cause is 'failed' (rank 1, step 33), not 'killed'"));
}

TEST(Observation, OfAFaultThatDidNotStrikeIsAProblem) {
  auto observed = recovered();
  std::erase_if(observed.run->events, [](const auto& e) { return e.name == "failure"; });
  EXPECT_THAT(problems_of(observed), ElementsAre("no failure of cause 'killed' was noted"));
}

TEST(Observation, TakesTheRootCauseForTheFailureThatFollowedFromIt) {
  auto observed = recovered();
  observed.run->events[1].cause = "failed";
  observed.run->events.insert(
      observed.run->events.begin() + 2,
      {.name = "root_cause", .cause = "killed", .rank = 0, .phase = "step", .step = 33});

  EXPECT_THAT(problems_of(observed), IsEmpty());
  EXPECT_THAT(happened(a_kill(), observed),
              AllOf(HasSubstr("killed (rank 0"), Not(HasSubstr("failed"))));
}

TEST(Observation, OfAFailureWhereNoneMayBeIsAProblem) {
  auto drill = a_kill();
  drill.expectation.cause.clear();
  EXPECT_THAT(problems_of(recovered(), drill),
              ElementsAre("a failure's cause is 'killed' (rank 1, step 33), not 'none'"));
}

TEST(Observation, AsksForTheEventTheMessageAndTheRepeatedSteps) {
  auto drill = a_kill();
  drill.expectation.event = "checkpoint_failed";
  drill.expectation.says = "No space left";
  drill.expectation.least_repeated = 4;
  auto observed = recovered();

  EXPECT_THAT(problems_of(observed, drill), ElementsAre("3 steps were repeated, not 4 or more",
                                                        "no event 'checkpoint_failed' was noted",
                                                        "no message says 'No space left'"));

  observed.run->events.push_back({.name = "checkpoint_failed", .step = 30});
  observed.run->repeated = 4;
  observed.messages = "warning: No space left on device\n";
  EXPECT_THAT(problems_of(observed, drill), IsEmpty());
  EXPECT_THAT(happened(a_kill(), observed), HasSubstr("save of step 30 failed"));
}

TEST(Observation, AsksForTheStraggler) {
  auto drill = a_kill();
  drill.expectation.straggler = 1;
  auto observed = recovered();
  EXPECT_THAT(problems_of(observed, drill), ElementsAre("rank 1 is not named as the straggler"));
  observed.run->straggler = 0;
  EXPECT_THAT(problems_of(observed, drill),
              ElementsAre("rank 0 is named as the straggler, not rank 1"));
  observed.run->straggler = 1;
  EXPECT_THAT(problems_of(observed, drill), IsEmpty());
  EXPECT_THAT(happened(drill, observed), HasSubstr("rank 1 is slow"));
  EXPECT_THAT(happened(a_kill(), observed), Not(HasSubstr("slow")));
}

TEST(Observation, OfALaunchThatHangsSaysWhatWasWaitedForAndNothingElse) {
  auto observed = recovered();
  observed.exit_codes.clear();
  observed.late = "'lockstep train' was not done after 2m00s";
  observed.run->status = "running";
  EXPECT_THAT(problems_of(observed), ElementsAre(observed.late));
}

TEST(Observation, WithoutARunIsAProblem) {
  Observation observed;
  observed.exit_codes = {4};
  EXPECT_THAT(problems_of(observed),
              ElementsAre("'lockstep train' ended with exit code 4, not 0", "it left no run"));
}

TEST(Observation, OfADamagedRunIsUnsoundAndDoesNotThrow) {
  const tests::TemporaryDirectory directory;
  std::ofstream(directory.file("run.json")) << "{";

  const auto run = read_run(base::FileSystem::posix(), directory.path());

  EXPECT_THAT(run.unsound, HasSubstr("run.json"));
}

TEST(DrillText, ShowsALineADrillAndSaysWhereAFailureCanBeReadUp) {
  const auto drills = all_drills(2);
  const Style style;
  const auto passed = drill_line(style, drills, {a_kill(), recovered(), {}, "/lab/a.log"});
  const auto failed = drill_line(
      style, drills, {all_drills(2)[0], recovered(), {"2 restarts, not 1"}, "/lab/a.log"});

  EXPECT_EQ(passed,
            "kill-step          passed     1.9s         3  killed (rank 1, step 33), restart, on "
            "from step 30\n");
  EXPECT_THAT(failed, AllOf(testing::StartsWith("kill-start         FAILED     1.9s"),
                            HasSubstr("\n                   2 restarts, not 1\n"),
                            HasSubstr("messages: /lab/a.log\n")));
}

TEST(DrillText, SumsUp) {
  const std::vector<DrillResult> results{{a_kill(), recovered(), {}, ""},
                                         {a_kill(), recovered(), {"x"}, ""}};
  const Style style;

  EXPECT_EQ(drill_summary(style, {results.data(), 1}, 1, std::chrono::seconds(41), ""),
            "all 1 passed in 41.0s on 1 rank\n");
  EXPECT_EQ(drill_summary(style, results, 2, std::chrono::seconds(41), "/lab"),
            "1 of 2 failed in 41.0s on 2 ranks\nfiles: /lab\n");
  const auto json = drill_json(results, 2, "/lab");
  EXPECT_EQ(json["passed"], false);
  EXPECT_EQ(json["drills"][1]["problems"][0], "x");
  EXPECT_EQ(json["drills"][0]["steps_repeated"], 3);
}

}  // namespace
}  // namespace lockstep::launcher
