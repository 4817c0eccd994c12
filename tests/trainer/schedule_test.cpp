#include "trainer/schedule.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace lockstep::trainer {
namespace {

TEST(Schedule, ConstantNeverChanges) {
  const Schedule schedule{.kind = ScheduleKind::kConstant, .base_lr = 0.5, .total_steps = 10};

  EXPECT_EQ(lr_at(schedule, 0), 0.5);
  EXPECT_EQ(lr_at(schedule, 99), 0.5);
}

TEST(Schedule, WarmupRisesInEqualStepsToTheBase) {
  const Schedule schedule{.base_lr = 1, .warmup_steps = 4, .total_steps = 10};

  EXPECT_DOUBLE_EQ(lr_at(schedule, 0), 0.25);
  EXPECT_DOUBLE_EQ(lr_at(schedule, 1), 0.5);
  EXPECT_DOUBLE_EQ(lr_at(schedule, 3), 1);
  EXPECT_DOUBLE_EQ(lr_at(schedule, 4), 1);
}

TEST(Schedule, CosineIsHalfwayInTheMiddleAndEndsAtItsFloor) {
  const Schedule schedule{
      .kind = ScheduleKind::kCosine, .base_lr = 1, .min_lr_ratio = 0.1, .total_steps = 10};

  EXPECT_DOUBLE_EQ(lr_at(schedule, 0), 1);
  EXPECT_DOUBLE_EQ(lr_at(schedule, 5), 0.55);
  EXPECT_DOUBLE_EQ(lr_at(schedule, 10), 0.1);
  EXPECT_DOUBLE_EQ(lr_at(schedule, 50), 0.1);
}

TEST(Schedule, LinearFallsEvenlyAfterTheWarmup) {
  const Schedule schedule{
      .kind = ScheduleKind::kLinear, .base_lr = 2, .warmup_steps = 2, .total_steps = 6};

  EXPECT_DOUBLE_EQ(lr_at(schedule, 2), 2);
  EXPECT_DOUBLE_EQ(lr_at(schedule, 4), 1);
  EXPECT_DOUBLE_EQ(lr_at(schedule, 6), 0);
}

TEST(Schedule, StepDropsByGammaEachStepSize) {
  const Schedule schedule{
      .kind = ScheduleKind::kStep, .base_lr = 1, .total_steps = 100, .step_size = 10, .gamma = 0.5};

  EXPECT_DOUBLE_EQ(lr_at(schedule, 9), 1);
  EXPECT_DOUBLE_EQ(lr_at(schedule, 10), 0.5);
  EXPECT_DOUBLE_EQ(lr_at(schedule, 29), 0.25);
}

TEST(Schedule, AnUnknownNameIsAConfigError) {
  EXPECT_THROW(schedule_kind("cosin"), base::ConfigError);
}

}  // namespace
}  // namespace lockstep::trainer
