#include "base/fault.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace lockstep::base {
namespace {

TEST(FaultPlan, ReadsKindsAndPlaces) {
  const auto plan = FaultPlan::parse("kill rank=1 phase=save step=4; slow milliseconds=7");

  ASSERT_EQ(plan.faults().size(), 2u);
  EXPECT_EQ(plan.faults()[0].kind, Fault::Kind::kKill);
  EXPECT_EQ(plan.faults()[0].rank, 1);
  EXPECT_EQ(plan.faults()[0].phase, Phase::kSave);
  EXPECT_EQ(plan.faults()[0].step, 4);
  EXPECT_EQ(plan.faults()[1].kind, Fault::Kind::kSlow);
  EXPECT_EQ(plan.faults()[1].milliseconds, 7);
}

TEST(FaultPlan, GivesARankItsOwnFaultsInTheirAttempt) {
  const auto plan =
      FaultPlan::parse("nan rank=1 step=2; nan rank=0 attempt=1; nan rank=1 attempt=-1");

  EXPECT_EQ(plan.for_rank(1, 0).faults().size(), 2u);
  EXPECT_EQ(plan.for_rank(1, 3).faults().size(), 1u);
  EXPECT_TRUE(plan.for_rank(0, 0).empty());
  EXPECT_FALSE(plan.for_rank(0, 1).empty());
}

TEST(FaultPlan, WantsAFaultAtItsPlaceAlone) {
  const auto plan = FaultPlan::parse("nan phase=step step=2");

  EXPECT_TRUE(plan.wants(Fault::Kind::kNan, Phase::kStep, 2));
  EXPECT_FALSE(plan.wants(Fault::Kind::kNan, Phase::kStep, 3));
  EXPECT_FALSE(plan.wants(Fault::Kind::kNan, Phase::kSave, 2));
  EXPECT_FALSE(plan.wants(Fault::Kind::kDiskFull, Phase::kStep, 2));
}

TEST(FaultPlan, KillsTheProcessAtItsPlace) {
  const auto plan = FaultPlan::parse("kill phase=evaluation");

  plan.reached(Phase::kStep, 0);
  EXPECT_EXIT(plan.reached(Phase::kEvaluation, 0), testing::KilledBySignal(SIGKILL), "");
}

TEST(FaultPlan, NamesTheWordThatIsNotUnderstood) {
  for (const char* text :
       {"explode", "kill now", "kill rank=x", "kill phase=nowhere", "kill a=1"}) {
    EXPECT_THROW(FaultPlan::parse(text), ConfigError) << text;
  }
}

}  // namespace
}  // namespace lockstep::base
