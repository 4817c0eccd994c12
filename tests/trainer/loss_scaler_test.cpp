// The factor on the loss in f16: halved by overflows, doubled after a run of good steps, a function
// of what happened alone.

#include "trainer/loss_scaler.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

namespace lockstep::trainer {
namespace {

TEST(LossScaler, HalvesWhereGradientsOverflowAndCountsTheStepsLeftOut) {
  const LossScaleOptions options{.initial = 8, .growth_steps = 2};
  LossScale scale{.factor = 8};
  scale = next_loss_scale(scale, true, options);
  EXPECT_EQ(scale, (LossScale{.factor = 4, .good_steps = 0, .overflows = 1}));
  scale = next_loss_scale(scale, false, options);
  EXPECT_EQ(scale, (LossScale{.factor = 4, .good_steps = 1, .overflows = 1}));
  scale = next_loss_scale(scale, true, options);
  EXPECT_EQ(scale, (LossScale{.factor = 2, .good_steps = 0, .overflows = 2}));
}

TEST(LossScaler, DoublesAfterSoManyGoodSteps) {
  const LossScaleOptions options{.initial = 8, .growth_steps = 3};
  LossScale scale{.factor = 8};
  for (int step = 0; step < 2; ++step) scale = next_loss_scale(scale, false, options);
  EXPECT_EQ(scale.factor, 8);
  scale = next_loss_scale(scale, false, options);
  EXPECT_EQ(scale, (LossScale{.factor = 16}));
}

TEST(LossScaler, EndsAtOne) {
  LossScale scale{.factor = 2};
  EXPECT_FALSE(is_smallest(scale));
  scale = next_loss_scale(scale, true, {});
  EXPECT_TRUE(is_smallest(scale));
  EXPECT_EQ(next_loss_scale(scale, true, {}).factor, 1);
}

RC_GTEST_PROP(LossScaler, IsAPowerOfTwoWhateverHappens, (std::vector<bool> overflows)) {
  LossScale scale{.factor = 65536};
  std::int64_t count = 0;
  for (const bool overflowed : overflows) {
    scale = next_loss_scale(scale, overflowed, {.growth_steps = 3});
    count += overflowed ? 1 : 0;
    int exponent = 0;
    RC_ASSERT(std::frexp(scale.factor, &exponent) == 0.5);
    RC_ASSERT(scale.factor >= 1);
    RC_ASSERT(scale.overflows == count);
  }
}

}  // namespace
}  // namespace lockstep::trainer
