#include "comm/micro_batch_plan.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.hpp"

namespace lockstep::comm {
namespace {

std::string refusal(std::int64_t micro_batches, int ranks) {
  try {
    const MicroBatchPlan plan(micro_batches, ranks);
  } catch (const base::ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(MicroBatchPlan, GivesTheFirstRanksTheLongerRanges) {
  const MicroBatchPlan plan(8, 3);

  EXPECT_EQ(plan.range_of(0), (LeafRange{0, 3}));
  EXPECT_EQ(plan.range_of(1), (LeafRange{3, 6}));
  EXPECT_EQ(plan.range_of(2), (LeafRange{6, 8}));
}

TEST(MicroBatchPlan, SaysHowManyRanksAreTheMost) {
  EXPECT_EQ(refusal(4, 8),
            "8 ranks for 4 micro-batches (a rank without work would wait for ever); use at most 4 "
            "ranks or a smaller train.micro_batch");
  EXPECT_EQ(refusal(1, 2),
            "2 ranks for 1 micro-batch (a rank without work would wait for ever); use at most 1 "
            "rank or a smaller train.micro_batch");
}

TEST(MicroBatchPlan, RefusesWhatLiesOutsideIt) {
  const MicroBatchPlan plan(4, 2);

  EXPECT_THROW(plan.range_of(2), base::InternalError);
  EXPECT_THROW(plan.range_of(-1), base::InternalError);
  EXPECT_THROW(plan.owner_of(4), base::InternalError);
  EXPECT_THROW(plan.owner_of(-1), base::InternalError);
  EXPECT_THROW(MicroBatchPlan(0, 0), base::InternalError);
}

RC_GTEST_PROP(MicroBatchPlan, TilesAllMicroBatchesEvenlyAndKnowsEachOwner, ()) {
  const auto micro_batches = *rc::gen::inRange<std::int64_t>(1, 500);
  const auto ranks = *rc::gen::inRange(1, static_cast<int>(micro_batches) + 1);
  const MicroBatchPlan plan(micro_batches, ranks);

  std::int64_t next = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto range = plan.range_of(rank);
    RC_ASSERT(range.begin == next);
    RC_ASSERT(range.size() == micro_batches / ranks || range.size() == micro_batches / ranks + 1);
    if (rank > 0) RC_ASSERT(range.size() <= plan.range_of(rank - 1).size());
    for (auto owned = range.begin; owned < range.end; ++owned) {
      RC_ASSERT(plan.owner_of(owned) == rank);
    }
    next = range.end;
  }
  RC_ASSERT(next == micro_batches);
}

}  // namespace
}  // namespace lockstep::comm
