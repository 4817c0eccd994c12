#include "trainer/run_metadata.hpp"

#include <gtest/gtest.h>

namespace lockstep::trainer {
namespace {

TEST(RunMetadata, ComesBackFromItsText) {
  RunMetadata metadata{.run = "amber-heron",
                       .config_hash = "c0",
                       .data_fingerprint = "da",
                       .seed = 7,
                       .world_size = 3,
                       .metrics = {{"loss", 0.5}, {"accuracy", 0.75}},
                       .metrics_step = 40,
                       .best_step = 20,
                       .best_value = 0.8,
                       .dropped_step = 33,
                       .dropped_reason = "the loss is no finite number",
                       .loss_scale = LossScale{.factor = 2048, .good_steps = 17, .overflows = 3}};
  RunMetadata read{.run = "another", .config_hash = "c1", .data_fingerprint = "db"};

  EXPECT_EQ(take_from_json(to_json(metadata), read), "c0");

  EXPECT_EQ(read.run, "another") << "where a run comes from is its own";
  EXPECT_EQ(read.metrics, metadata.metrics);
  EXPECT_EQ(read.metrics_step, 40);
  EXPECT_EQ(read.best_step, 20);
  EXPECT_EQ(read.best_value, 0.8);
  EXPECT_EQ(read.dropped_step, 33);
  EXPECT_EQ(read.dropped_reason, metadata.dropped_reason);
  EXPECT_EQ(read.loss_scale, metadata.loss_scale);
}

TEST(RunMetadata, OfAnOlderCheckpointKeepsWhatTheTextDoesNotHave) {
  RunMetadata read{.run = "r", .config_hash = "c", .data_fingerprint = "d", .metrics_step = 12};

  EXPECT_EQ(take_from_json(R"({"metrics": {"loss": 1.5}})", read), "");

  EXPECT_EQ(read.metrics_step, 12);
  EXPECT_EQ(read.metrics.at("loss"), 1.5);
  EXPECT_EQ(read.best_step, -1);
  EXPECT_EQ(read.dropped_step, -1);
}

TEST(RunMetadata, KnowsTheBestCheckpoint) {
  RunMetadata metadata{.run = "r", .config_hash = "c", .data_fingerprint = "d"};
  const auto evaluated = [&](std::int64_t step, double accuracy) {
    metadata.metrics = {{"accuracy", accuracy}};
    metadata.metrics_step = step;
  };
  const BestMetric accuracy{.name = "accuracy", .larger_is_better = true};
  evaluated(10, 0.5);
  consider_best(10, accuracy, metadata);
  EXPECT_EQ(metadata.best_step, 10);
  consider_best(15, accuracy, metadata);
  EXPECT_EQ(metadata.best_step, 10) << "its metrics are another step's";
  evaluated(20, 0.5);
  consider_best(20, accuracy, metadata);
  EXPECT_EQ(metadata.best_step, 10) << "the first of equals stays";
  evaluated(30, 0.6);
  consider_best(30, accuracy, metadata);
  EXPECT_EQ(metadata.best_step, 30);
  evaluated(40, 0.1);
  consider_best(40, {.name = "accuracy", .larger_is_better = false}, metadata);
  EXPECT_EQ(metadata.best_step, 40);
}

}  // namespace
}  // namespace lockstep::trainer
