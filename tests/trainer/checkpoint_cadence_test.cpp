// When a run saves, without a clock that runs.

#include "trainer/checkpoint_cadence.hpp"

#include <gtest/gtest.h>

#include "checkpoints/cadence.hpp"

namespace lockstep::trainer {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Seconds = std::chrono::duration<double>;

TEST(CheckpointCadence, IsDueAfterSoManyStepsAndSoManyEpochs) {
  configs::CheckpointConfig config;
  config.every_steps = 4;
  config.every_epochs = 2;
  const CheckpointCadence cadence(config, {.steps_per_epoch = 5});

  for (std::int64_t step = 1; step <= 20; ++step) {
    const bool wanted =
        step == 4 || step == 8 || step == 10 || step == 12 || step == 16 || step == 20;
    EXPECT_EQ(cadence.due(step), wanted) << step;
  }
  EXPECT_EQ(last_due_by_count(config, 5, 3), 0);
  EXPECT_EQ(last_due_by_count(config, 5, 11), 10);
  EXPECT_EQ(last_due_by_count(config, 5, 12), 12);
  EXPECT_FALSE(due_by_count(config, 5, 0));
}

TEST(CheckpointCadence, IsNeverDueWhereAllKnobsAreOff) {
  configs::CheckpointConfig config;
  config.every_epochs = 0;
  const CheckpointCadence cadence(config, {.steps_per_epoch = 1});

  EXPECT_FALSE(cadence.due(1));
  EXPECT_FALSE(cadence.asks(std::chrono::hours(1000)));
  EXPECT_EQ(cadence.interval(), std::nullopt);
}

TEST(CheckpointCadence, AsksSoManySecondsAfterTheLastSaveBegan) {
  configs::CheckpointConfig config;
  config.every_seconds = 10;
  CheckpointCadence cadence(config, {.begin = seconds(100)});

  EXPECT_FALSE(cadence.asks(milliseconds(109'999)));
  EXPECT_TRUE(cadence.asks(seconds(110)));
  cadence.began(seconds(112));
  EXPECT_FALSE(cadence.asks(seconds(121)));
  EXPECT_TRUE(cadence.asks(seconds(122)));
}

class AutomaticCadence : public testing::Test {
 protected:
  AutomaticCadence() { config_.every = "auto"; }
  CheckpointCadence cadence(Seconds wall_limit = Seconds(0)) const {
    return {config_,
            {.state_bytes = 1'000'000'000,
             .time_between_failures = Seconds(10000),
             .wall_limit = wall_limit}};
  }
  configs::CheckpointConfig config_;
};

TEST_F(AutomaticCadence, GuessesTheCostFromTheStateBeforeTheFirstSave) {
  const auto fresh = cadence();

  EXPECT_EQ(fresh.cost(), Seconds(2));
  EXPECT_EQ(fresh.interval(), checkpoints::best_interval(Seconds(2), Seconds(10000)));
  EXPECT_FALSE(fresh.asks(seconds(198)));  // sqrt(2 * 2 * 10000) - 2 and a little
  EXPECT_TRUE(fresh.asks(seconds(199)));
}

TEST_F(AutomaticCadence, TakesAsCostWhatStoodStillAndWhatStepsWereSlowedBy) {
  auto measured = cadence();
  for (int i = 0; i < 50; ++i) measured.step_took(milliseconds(100), /*saving=*/false);
  measured.began(seconds(5));
  for (int i = 0; i < 4; ++i) measured.step_took(milliseconds(150), /*saving=*/true);

  measured.saved(milliseconds(40));

  EXPECT_NEAR(measured.cost().count(), 0.24, 1e-9);
  EXPECT_EQ(measured.interval(), checkpoints::best_interval(measured.cost(), Seconds(10000)));
}

TEST_F(AutomaticCadence, CountsNoStepAsFasterThanWithoutASave) {
  auto measured = cadence();
  measured.step_took(milliseconds(100), /*saving=*/false);
  measured.began(seconds(1));
  measured.step_took(milliseconds(90), /*saving=*/true);

  measured.saved(milliseconds(10));

  EXPECT_NEAR(measured.cost().count(), 0.010, 1e-9);
}

TEST_F(AutomaticCadence, KnowsTheCostOfASaveThatEveryStepWasPartOf) {
  auto measured = cadence();
  measured.began(seconds(0));
  measured.step_took(milliseconds(500), /*saving=*/true);

  measured.saved(milliseconds(30));

  EXPECT_NEAR(measured.cost().count(), 0.030, 1e-9);
}

TEST_F(AutomaticCadence, WaitsNoLongerThanIsLeftOfTheWallLimit) {
  auto limited = cadence(Seconds(300));
  EXPECT_GT(limited.interval(), Seconds(190));

  limited.began(seconds(250));

  EXPECT_EQ(limited.interval(), Seconds(50));
  EXPECT_FALSE(limited.asks(seconds(299)));
  EXPECT_TRUE(limited.asks(seconds(300)));
}

}  // namespace
}  // namespace lockstep::trainer
