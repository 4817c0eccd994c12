// What a run says about its steps' time, from what its ranks measured.

#include "trainer/step_times.hpp"

#include <gtest/gtest.h>

namespace lockstep::trainer {
namespace {

using std::chrono::milliseconds;

/// Ten steps of a rank that works for `work` and waits until 100 ms are over.
StepTotals rank_with(milliseconds work) {
  StepTotals totals;
  for (int i = 0; i < 10; ++i) {
    totals.add({.forward = work / 2, .backward = work / 2, .exchange = milliseconds(100) - work},
               milliseconds(104));
  }
  return totals;
}

TEST(StepAnatomy, GivesEachPhasesSpreadOverRanksPerStep) {
  const std::vector<StepTotals> ranks{rank_with(milliseconds(60)), rank_with(milliseconds(80)),
                                      rank_with(milliseconds(70))};

  const auto anatomy = compare_ranks(ranks, {"a", "a", "b"});

  EXPECT_EQ(anatomy.steps, 10);
  ASSERT_EQ(anatomy.phases.size(), 6u);
  EXPECT_EQ(anatomy.phases[1].name, "forward");
  EXPECT_DOUBLE_EQ(anatomy.phases[1].min, 0.030);
  EXPECT_DOUBLE_EQ(anatomy.phases[1].median, 0.035);
  EXPECT_DOUBLE_EQ(anatomy.phases[1].max, 0.040);
  EXPECT_DOUBLE_EQ(anatomy.phases[5].median, 0.004) << "other: what no phase accounts for";
}

TEST(StepAnatomy, NamesTheRankThatOthersWaitFor) {
  const std::vector<StepTotals> ranks{rank_with(milliseconds(50)), rank_with(milliseconds(96)),
                                      rank_with(milliseconds(50))};

  const auto anatomy = compare_ranks(ranks, {"a", "b", "c"});

  EXPECT_EQ(anatomy.straggler, 1);
  EXPECT_EQ(anatomy.straggler_host, "b");
  EXPECT_NEAR(anatomy.straggler_excess, 100.0 / 54 - 1, 1e-9);
}

TEST(StepAnatomy, NamesNobodyWhenRanksAreAlikeOrAlone) {
  const std::vector<StepTotals> alike{rank_with(milliseconds(50)), rank_with(milliseconds(51))};
  const std::vector<StepTotals> alone{rank_with(milliseconds(50))};

  EXPECT_EQ(compare_ranks(alike, {"a", "a"}).straggler, -1);
  EXPECT_EQ(compare_ranks(alone, {"a"}).straggler, -1);
  EXPECT_EQ(compare_ranks({}, {}).steps, 0);
  EXPECT_EQ(compare_ranks(std::vector<StepTotals>(2), {"a", "b"}).steps, 0) << "no step was done";
}

}  // namespace
}  // namespace lockstep::trainer
