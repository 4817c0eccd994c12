#include "trainer/divergence_watch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace lockstep::trainer {
namespace {

using testing::HasSubstr;

/// Losses 1, 3, 1, 3, ...: mean 2, standard deviation 1; norms twice that.
DivergenceWatch after_steps(std::int64_t steps, DivergenceOptions options) {
  DivergenceWatch watch(options);
  for (std::int64_t i = 0; i < steps; ++i) {
    const double loss = i % 2 == 0 ? 1 : 3;
    watch.accept(loss, 2 * loss);
  }
  return watch;
}

TEST(DivergenceWatch, NamesWhatIsNoFiniteNumber) {
  const DivergenceWatch watch({});

  EXPECT_EQ(watch.problem(NAN, 1), "the loss is no finite number");
  EXPECT_EQ(watch.problem(HUGE_VAL, NAN), "the loss is no finite number");
  EXPECT_EQ(watch.problem(1, HUGE_VAL), "the gradient norm is no finite number");
  EXPECT_EQ(watch.problem(1e300, 1e300), "");
}

TEST(DivergenceWatch, FindsALossThatStandsOut) {
  const auto watch = after_steps(10, {.loss_z = 4, .window = 10});

  EXPECT_EQ(watch.problem(6, 1000), "");
  EXPECT_THAT(watch.problem(6.5, 1), HasSubstr("4.5 standard deviations above"));
  EXPECT_EQ(watch.problem(-100, 1), "");
}

TEST(DivergenceWatch, FindsAGradientNormThatStandsOut) {
  const auto watch = after_steps(10, {.gradient_z = 3, .window = 10});

  EXPECT_EQ(watch.problem(1000, 10), "");
  EXPECT_THAT(watch.problem(2, 10.5), HasSubstr("the gradient norm 10.5"));
}

TEST(DivergenceWatch, WaitsForAWholeWindow) {
  EXPECT_EQ(after_steps(9, {.loss_z = 1, .window = 10}).problem(1000, 1), "");
}

TEST(DivergenceWatch, ForgetsWhatIsOlderThanTheWindow) {
  auto watch = after_steps(10, {.loss_z = 4, .window = 10});
  for (int i = 0; i < 10; ++i) watch.accept(i % 2 == 0 ? 101 : 103, 1);

  EXPECT_EQ(watch.problem(105, 1), "");
}

TEST(DivergenceWatch, FindsAnyRiseAboveLossesThatNeverMoved) {
  DivergenceWatch watch({.loss_z = 4, .window = 10});
  for (int i = 0; i < 10; ++i) watch.accept(2, 1);

  EXPECT_EQ(watch.problem(2, 1), "");
  EXPECT_NE(watch.problem(2.001, 1), "");
}

}  // namespace
}  // namespace lockstep::trainer
