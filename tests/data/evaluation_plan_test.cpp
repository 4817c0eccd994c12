#include "data/evaluation_plan.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.hpp"

namespace lockstep::data {
namespace {

TEST(EvaluationPlan, CutsAShorterLastBatch) {
  const EvaluationPlan plan(10, 4);

  EXPECT_EQ(plan.batches(), 3);
  EXPECT_EQ(plan.samples_of(0), (Range{0, 4}));
  EXPECT_EQ(plan.samples_of(2), (Range{8, 10}));
}

TEST(EvaluationPlan, GivesTheFirstRanksTheLongerRanges) {
  const EvaluationPlan plan(10, 2);

  EXPECT_EQ(plan.batches_of(0, 3), (Range{0, 2}));
  EXPECT_EQ(plan.batches_of(1, 3), (Range{2, 4}));
  EXPECT_EQ(plan.batches_of(2, 3), (Range{4, 5}));
}

TEST(EvaluationPlan, LeavesRanksWithoutWorkEmpty) {
  const EvaluationPlan plan(3, 256);

  EXPECT_EQ(plan.batches_of(0, 4).size(), 1);
  EXPECT_EQ(plan.batches_of(3, 4).size(), 0);
}

TEST(EvaluationPlan, OfNoSamplesHasNoBatches) { EXPECT_EQ(EvaluationPlan(0, 8).batches(), 0); }

RC_GTEST_PROP(EvaluationPlan, CoversEverySampleOnceAtAnyRankCount, ()) {
  const auto samples = *rc::gen::inRange<std::int64_t>(0, 500);
  const auto ranks = *rc::gen::inRange(1, 20);
  const EvaluationPlan plan(samples, *rc::gen::inRange<std::int64_t>(1, 60));
  std::int64_t expected = 0;

  for (int rank = 0; rank < ranks; ++rank) {
    const auto mine = plan.batches_of(rank, ranks);
    for (auto batch = mine.begin; batch < mine.end; ++batch) {
      RC_ASSERT(plan.samples_of(batch).begin == expected);
      expected = plan.samples_of(batch).end;
    }
  }

  RC_ASSERT(expected == samples);
}

TEST(EvaluationPlan, RefusesImpossibleNumbers) {
  EXPECT_THROW(EvaluationPlan(5, 0), base::ConfigError);
  EXPECT_THROW(EvaluationPlan(-1, 4), base::ConfigError);
  EXPECT_THROW(EvaluationPlan(4, 4).samples_of(1), base::InternalError);
  EXPECT_THROW(EvaluationPlan(4, 4).batches_of(2, 2), base::InternalError);
}

}  // namespace
}  // namespace lockstep::data
