// How often to save: the formula against a search for the best interval by brute force, and its
// limits.

#include "checkpoints/cadence.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

namespace lockstep::checkpoints {
namespace {

using Seconds = std::chrono::duration<double>;

/// Time lost a second of work that is kept, by Daly's model of exponential failures without restart
/// time: M e^0 (e^((t + C) / M) - 1) / t - 1.
double loss(double interval, double cost, double mean) {
  return mean * std::expm1((interval + cost) / mean) / interval - 1;
}

TEST(BestInterval, IsYoungsWhereASaveIsCheap) {
  // sqrt(2 * 1 * 20000) = 200, less the cost, with a small term of higher order.
  EXPECT_NEAR(best_interval(Seconds(1), Seconds(20000)).count(), 199.33, 0.01);
}

TEST(BestInterval, IsTheTimeBetweenFailuresWhereASaveCostsTwiceThat) {
  EXPECT_EQ(best_interval(Seconds(20), Seconds(10)).count(), 10);
  EXPECT_EQ(best_interval(Seconds(1000), Seconds(10)).count(), 10);
}

TEST(BestInterval, IsNothingWhereASaveCostsNothing) {
  EXPECT_EQ(best_interval(Seconds(0), Seconds(1000)).count(), 0);
  EXPECT_EQ(best_interval(Seconds(-1), Seconds(1000)).count(), 0);
  EXPECT_EQ(best_interval(Seconds(1), Seconds(0)).count(), 0);
}

RC_GTEST_PROP(BestInterval, LosesHardlyMoreThanTheBestOneFoundBySearch, ()) {
  const auto cost = static_cast<double>(*rc::gen::inRange(1, 1000)) / 10;
  const auto mean = cost * static_cast<double>(*rc::gen::inRange(4, 100000));
  double best = loss(mean, cost, mean);
  for (double interval = mean; interval > cost / 100; interval *= 0.99) {
    best = std::min(best, loss(interval, cost, mean));
  }

  const auto found = best_interval(Seconds(cost), Seconds(mean)).count();

  RC_ASSERT(loss(found, cost, mean) <= best * 1.01);
}

RC_GTEST_PROP(BestInterval, GrowsWithCostAndWithTheTimeBetweenFailures, ()) {
  const auto mean = static_cast<double>(*rc::gen::inRange(10, 1000000));
  const auto cost = mean * static_cast<double>(*rc::gen::inRange(1, 200)) / 1000;
  const auto at = [](double c, double m) { return best_interval(Seconds(c), Seconds(m)).count(); };

  RC_ASSERT(at(cost * 1.1, mean) >= at(cost, mean));
  RC_ASSERT(at(cost, mean * 1.1) >= at(cost, mean));
}

TEST(TimeBetweenFailures, IsADayForANodeBeforeAnythingIsKnown) {
  EXPECT_EQ(time_between_failures(1, 0, Seconds(0)).count(), 86400);
  EXPECT_EQ(time_between_failures(24, 0, Seconds(0)).count(), 3600);
  EXPECT_EQ(time_between_failures(0, 0, Seconds(0)).count(), 86400);
}

TEST(TimeBetweenFailures, ComesToWhatTheRunHasMet) {
  EXPECT_NEAR(time_between_failures(24, 99, Seconds(99 * 600)).count(), 630, 1);
  EXPECT_GT(time_between_failures(24, 0, Seconds(7200)).count(), 3600);
  EXPECT_LT(time_between_failures(24, 1, Seconds(600)).count(), 3600);
}

TEST(DiskNeed, IsTwoCheckpointsAtLeastUntilThereIsOne) {
  EXPECT_EQ((DiskNeed{.state_bytes = 100}.least_bytes()), 200u);
  EXPECT_EQ((DiskNeed{.state_bytes = 100, .frozen_bytes = 90}.least_bytes()), 110u);
  EXPECT_EQ((DiskNeed{.state_bytes = 100, .held_bytes = 100}.least_bytes()), 100u);
  EXPECT_EQ((DiskNeed{.state_bytes = 100, .held_bytes = 5000}.least_bytes()), 100u);
}

TEST(DiskNeed, IsAllThatStayAndOneMoreBesideWhatIsThere) {
  EXPECT_EQ((DiskNeed{.state_bytes = 100, .keep = 3, .best = true}.whole_bytes()), 500u);
  EXPECT_EQ((DiskNeed{.state_bytes = 100, .frozen_bytes = 90, .keep = 3}.whole_bytes()), 130u);
  EXPECT_EQ((DiskNeed{.state_bytes = 100, .held_bytes = 200, .keep = 3}.whole_bytes()), 200u);
  EXPECT_EQ((DiskNeed{.state_bytes = 100, .keep = 1, .kept_for_good = 7}.whole_bytes()), 900u);
  // One can always be under way.
  EXPECT_EQ((DiskNeed{.state_bytes = 100, .held_bytes = 900, .keep = 3}.whole_bytes()), 100u);
}

}  // namespace
}  // namespace lockstep::checkpoints
