#include "launcher/hang_watch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lockstep::launcher {
namespace {

using namespace std::chrono_literals;
using base::Phase;
using testing::HasSubstr;

std::vector<RankView> two_ranks(Phase phase, std::int64_t step) {
  return {{.rank = 0, .host = "a", .phase = phase, .step = step},
          {.rank = 1, .host = "a", .phase = phase, .step = step}};
}

/// A run whose steps take 100 ms, up to `step`; returns the time then.
HangWatch::Time trained(HangWatch& watch, std::int64_t step) {
  HangWatch::Time now = 0s;
  for (std::int64_t done = 0; done <= step; ++done) {
    now += 100ms;
    EXPECT_FALSE(watch.look(now, two_ranks(Phase::kStep, done)));
  }
  return now;
}

TEST(HangWatch, AllowsWhatItWasToldToUntilItHasLearned) {
  HangWatch watch({.longest = 300s});

  EXPECT_EQ(watch.allowed(Phase::kStep), 300s);
  EXPECT_FALSE(watch.look(0s, two_ranks(Phase::kStep, 0)));
  EXPECT_FALSE(watch.look(300s, two_ranks(Phase::kStep, 0)));
  EXPECT_TRUE(watch.look(301s, two_ranks(Phase::kStep, 0)));
}

TEST(HangWatch, LearnsFromTheStepsAndNeverAllowsLessThanTenSeconds) {
  HangWatch watch({.longest = 300s});
  const auto now = trained(watch, 20);

  EXPECT_EQ(watch.allowed(Phase::kStep), 10s);
  EXPECT_FALSE(watch.look(now + 10s, two_ranks(Phase::kStep, 20)));
  EXPECT_TRUE(watch.look(now + 11s, two_ranks(Phase::kStep, 20)));
}

TEST(HangWatch, SurvivesAPauseShorterThanAllowedAndAllowsLongerOnesAfterIt) {
  HangWatch watch({.longest = 300s});
  auto now = trained(watch, 20) + 9s;

  EXPECT_FALSE(watch.look(now, two_ranks(Phase::kStep, 21)));
  EXPECT_EQ(watch.allowed(Phase::kStep), 180s);
}

TEST(HangWatch, TakesTheConfiguredTimeInstead) {
  HangWatch watch({.fixed = 2s, .longest = 300s});
  const auto now = trained(watch, 5);

  EXPECT_FALSE(watch.look(now + 2s, two_ranks(Phase::kStep, 5)));
  EXPECT_TRUE(watch.look(now + 2100ms, two_ranks(Phase::kStep, 5)));
}

TEST(HangWatch, GivesARankInADebuggerAllTheTimeItWants) {
  HangWatch watch({.fixed = 1s, .longest = 300s});
  const auto now = trained(watch, 5);
  auto ranks = two_ranks(Phase::kStep, 5);
  ranks[1].state = 't';

  EXPECT_FALSE(watch.look(now + 100s, ranks));
  ranks[1].state = 'S';
  EXPECT_FALSE(watch.look(now + 101s, ranks));
  EXPECT_TRUE(watch.look(now + 102s, ranks));
}

TEST(HangWatch, SeesNoHangWhereNoRankLives) {
  // A launch whose ranks had not started yet was taken for one that hangs, as nothing was allowed.
  HangWatch watch({.longest = 300s});
  auto ranks = two_ranks(Phase::kEnd, 5);
  for (auto& rank : ranks) rank.lives = false;

  for (const auto now : {0s, 1s, 1000s}) EXPECT_FALSE(watch.look(now, {}));
  for (const auto now : {1001s, 1002s, 2000s}) EXPECT_FALSE(watch.look(now, ranks));
}

TEST(HangWatch, CountsTheProgressOfAnyRank) {
  HangWatch watch({.fixed = 2s, .longest = 300s});
  auto ranks = two_ranks(Phase::kSave, 5);
  EXPECT_FALSE(watch.look(1s, ranks));
  ranks[1].phase = Phase::kStep;

  EXPECT_FALSE(watch.look(3s, ranks));
  EXPECT_FALSE(watch.look(5s, ranks));
  EXPECT_TRUE(watch.look(6s, ranks));
}

TEST(HangWatch, LeavesARankAloneThatComputesOutsideTheSteps) {
  HangWatch watch({.fixed = 2s, .longest = 300s});
  auto ranks = two_ranks(Phase::kEvaluation, 5);
  ranks[0].waits_in = "all_gather 3 'metrics'";
  for (int second = 0; second < 100; ++second) {
    ranks[0].cpu_ticks += 1;  // polls
    ranks[1].cpu_ticks += 90;
    EXPECT_FALSE(watch.look(std::chrono::seconds(second), ranks));
  }
  ranks[0].cpu_ticks += 1;

  EXPECT_TRUE(watch.look(102s, ranks));
}

TEST(HangVerdict, BlamesTheStoppedRank) {
  auto ranks = two_ranks(Phase::kStep, 7);
  ranks[1].state = 'T';
  ranks[0].waits_in = "node barrier 'gradients'";

  const auto verdict = hang_verdict(ranks, 11s);

  EXPECT_EQ(verdict.cause, "hang");
  EXPECT_EQ(verdict.rank, 1);
  EXPECT_EQ(verdict.step, 7);
  EXPECT_EQ(verdict.message, "rank 1 got no further for 11.0s (stopped by a signal)");
}

TEST(HangVerdict, BlamesTheRankThatTheOthersWaitFor) {
  auto ranks = two_ranks(Phase::kStep, 7);
  ranks[1].waits_in = "all_gather 3 'losses'";

  EXPECT_EQ(hang_verdict(ranks, 11s).rank, 0);
}

TEST(HangVerdict, NamesBothCallsWhenAllWait) {
  auto ranks = two_ranks(Phase::kStep, 7);
  ranks[0].waits_in = "all_gather 3 'losses'";
  ranks[1].waits_in = "node barrier 'gradients'";

  EXPECT_THAT(hang_verdict(ranks, 11s).message,
              HasSubstr("rank 0 in all_gather 3 'losses', rank 1 in node barrier 'gradients'"));
}

}  // namespace
}  // namespace lockstep::launcher
