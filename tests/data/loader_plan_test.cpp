#include "data/loader_plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "base/error.hpp"
#include "raises.hpp"

namespace lockstep::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::message_of;

LoaderPlan small_plan() {
  LoaderPlan plan;
  plan.samples = 10;
  plan.global_batch = 4;
  plan.micro_batch = 2;
  plan.micro_end = 2;
  plan.last_step = 4;
  plan.order.shuffle = Shuffle::kOff;
  return plan;
}

std::vector<std::int64_t> rows_of(const LoaderPlan& plan, std::int64_t step, std::int64_t index) {
  std::vector<std::int64_t> rows;
  micro_batch_rows(plan, step, index, rows);
  return rows;
}

TEST(LoaderPlan, CutsStepsIntoMicroBatchesInOrder) {
  const auto plan = small_plan();

  EXPECT_THAT(rows_of(plan, 0, 0), ElementsAre(0, 1));
  EXPECT_THAT(rows_of(plan, 0, 1), ElementsAre(2, 3));
  EXPECT_THAT(rows_of(plan, 1, 0), ElementsAre(4, 5));
  EXPECT_THAT(rows_of(plan, 1, 1), ElementsAre(6, 7));
}

TEST(LoaderPlan, StartsTheNextEpochAfterTheLastWholeStep) {
  EXPECT_EQ(steps_per_epoch(10, 4), 2);
  EXPECT_THAT(rows_of(small_plan(), 2, 0), ElementsAre(0, 1));
}

TEST(LoaderPlan, FollowsThePermutationOfTheEpoch) {
  auto plan = small_plan();
  plan.order.shuffle = Shuffle::kOn;
  plan.seed = 8;
  const Permutation second_epoch(10, 8, 1, Shuffle::kOn);

  EXPECT_THAT(rows_of(plan, 3, 1), ElementsAre(second_epoch.at(6), second_epoch.at(7)));
}

RC_GTEST_PROP(LoaderPlan, UsesNoSampleTwiceInAnEpoch, ()) {
  LoaderPlan plan;
  plan.micro_batch = *rc::gen::inRange<std::int64_t>(1, 8);
  plan.global_batch = plan.micro_batch * *rc::gen::inRange<std::int64_t>(1, 8);
  plan.samples = plan.global_batch + *rc::gen::inRange<std::int64_t>(0, 200);
  plan.seed = *rc::gen::arbitrary<std::uint64_t>();
  const auto epoch = *rc::gen::inRange<std::int64_t>(0, 5);
  const auto steps = steps_per_epoch(plan.samples, plan.global_batch);
  std::set<std::int64_t> seen;

  for (auto step = epoch * steps; step < (epoch + 1) * steps; ++step) {
    for (std::int64_t index = 0; index < plan.global_batch / plan.micro_batch; ++index) {
      for (const auto row : rows_of(plan, step, index)) seen.insert(row);
    }
  }

  RC_ASSERT(static_cast<std::int64_t>(seen.size()) == steps * plan.global_batch);
  RC_ASSERT(*seen.begin() >= 0 && *seen.rbegin() < plan.samples);
}

TEST(LoaderPlan, SaysWhyABatchLargerThanTheDataIsImpossible) {
  EXPECT_THAT(message_of<base::ConfigError>([] { steps_per_epoch(100, 256); }),
              HasSubstr("global_batch 256 is impossible with 100 samples"));
}

TEST(LoaderPlan, RefusesMicroBatchesThatDoNotDivideTheStep) {
  auto plan = small_plan();
  plan.micro_batch = 3;

  EXPECT_THAT(message_of<base::ConfigError>([&] { check(plan); }),
              HasSubstr("micro_batch 3 does not divide global_batch 4"));
}

TEST(LoaderPlan, RefusesRangesOutsideTheStep) {
  auto plan = small_plan();
  plan.micro_end = 3;
  EXPECT_THAT(message_of<base::ConfigError>([&] { check(plan); }),
              HasSubstr("micro-batches 0 to 3 are not a range of the 2"));

  plan = small_plan();
  plan.first_step = 5;
  EXPECT_THROW(check(plan), base::ConfigError);
}

}  // namespace
}  // namespace lockstep::data
