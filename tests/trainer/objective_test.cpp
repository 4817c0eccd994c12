#include "trainer/objective.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace lockstep::trainer {
namespace {

TEST(Objective, CrossEntropyOfEvenLogitsIsTheLogOfTheClasses) {
  const Objective objective(ObjectiveKind::kClassification, 0);
  const auto logits = torch::zeros({3, 4});
  const auto labels = torch::tensor({0, 1, 3}, torch::kLong);

  EXPECT_NEAR(objective.loss(logits, labels).item<double>(), std::log(4.0), 1e-6);
}

TEST(Objective, LabelSmoothingRaisesTheLossOfSureAndRightLogits) {
  const auto logits = torch::tensor({{10.0F, 0.0F}});
  const auto labels = torch::tensor({0}, torch::kLong);

  const auto plain = Objective(ObjectiveKind::kClassification, 0).loss(logits, labels);
  const auto smooth = Objective(ObjectiveKind::kClassification, 0.2).loss(logits, labels);

  // A tenth of the target lies on the wrong class, whose logit is ten lower.
  EXPECT_NEAR(smooth.item<double>() - plain.item<double>(), 1.0, 1e-4);
}

TEST(Objective, MetricsOfSumsAreExact) {
  const Objective objective(ObjectiveKind::kClassification, 0.1);
  const auto logits = torch::tensor({{2.0F, 1.0F}, {0.0F, 3.0F}, {5.0F, 0.0F}, {1.0F, 0.0F}});
  const auto labels = torch::tensor({0, 1, 1, 0}, torch::kLong);

  const auto sums = objective.measure(logits, labels);
  const auto metrics = objective.metrics(sums);

  EXPECT_EQ(sums.count, 4);
  EXPECT_EQ(sums.correct, 3);
  EXPECT_EQ(metrics.at("accuracy"), 0.75);
  EXPECT_EQ(metrics.at("loss"), sums.loss / 4);
  EXPECT_FALSE(metrics.contains("perplexity"));
}

TEST(Objective, PerplexityIsTheExponentialOfTheTokenLoss) {
  const Objective objective(ObjectiveKind::kTokens, 0);
  const auto logits = torch::zeros({2, 3, 8});
  const auto next = torch::zeros({2, 3}, torch::kLong);

  const auto metrics = objective.metrics(objective.measure(logits, next));

  EXPECT_NEAR(metrics.at("perplexity"), 8, 1e-5);
  EXPECT_EQ(metrics.at("accuracy"), 1) << "a tie goes to the first class";
}

TEST(Objective, RegressionMeasuresSquaredAndAbsoluteErrors) {
  const Objective objective(ObjectiveKind::kRegression, 0);
  const auto outputs = torch::tensor({{1.0F}, {4.0F}});
  const auto targets = torch::tensor({0.0F, 1.0F});

  EXPECT_EQ(objective.loss(outputs, targets).item<float>(), 5);
  const auto metrics = objective.metrics(objective.measure(outputs, targets));
  EXPECT_EQ(metrics.at("loss"), 5);
  EXPECT_EQ(metrics.at("mae"), 2);
}

TEST(Objective, AccuracyIsBestWhenLargeAndLossWhenSmall) {
  EXPECT_EQ(best_metric(ObjectiveKind::kClassification).name, "accuracy");
  EXPECT_TRUE(best_metric(ObjectiveKind::kClassification).larger_is_better);
  EXPECT_EQ(best_metric(ObjectiveKind::kTokens).name, "loss");
  EXPECT_FALSE(best_metric(ObjectiveKind::kRegression).larger_is_better);
}

}  // namespace
}  // namespace lockstep::trainer
