#include "trainer/evaluation_report.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace lockstep::trainer {
namespace {

ClassCounts counted(std::int64_t classes, const std::vector<std::int64_t>& labels,
                    const std::vector<std::int64_t>& answers) {
  ClassCounts counts(classes, {}, CountDetail::kConfusion);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    std::vector<float> outputs(static_cast<std::size_t>(classes));
    outputs[static_cast<std::size_t>(answers[i])] = 1;
    counts.add(outputs.data(), &labels[i], 1);
  }
  return counts;
}

TEST(EvaluationReport, GivesEachClassItsShares) {
  EvaluationReport report;
  add_counts(report, counted(3, {0, 0, 0, 1, 1, 2}, {0, 0, 1, 1, 0, 1}));

  EXPECT_EQ(report.metrics[0], std::pair(std::string("accuracy"), std::optional(0.5)));
  EXPECT_EQ(report.classes[0].precision, 2.0 / 3);
  EXPECT_EQ(report.classes[0].recall, 2.0 / 3);
  EXPECT_EQ(report.classes[0].f1, 2.0 / 3);
  EXPECT_EQ(report.classes[1].precision, 1.0 / 3);
  EXPECT_EQ(report.classes[1].recall, 0.5);
  EXPECT_EQ(report.classes[1].f1, 0.4);
  EXPECT_EQ(report.classes[2].precision, 0) << "never predicted";
  EXPECT_EQ(report.classes[2].f1, 0);
  EXPECT_EQ(to_json(report)["metrics"]["macro_recall"], (2.0 / 3 + 0.5 + 0) / 3);
}

TEST(EvaluationReport, LeavesClassesWithoutSamplesOutOfTheMeans) {
  EvaluationReport report;
  add_counts(report, counted(3, {0, 0, 1, 1}, {0, 0, 1, 2}));

  const auto json = to_json(report);
  EXPECT_EQ(report.classes[2].precision, 0) << "predicted once, never right";
  EXPECT_EQ(report.classes[2].recall, std::nullopt);
  EXPECT_EQ(json["metrics"]["macro_precision"], 1);
  EXPECT_EQ(json["metrics"]["macro_recall"], 0.75);
  EXPECT_TRUE(json["classes"][2]["recall"].is_null());
  EXPECT_EQ(json["confusion_matrix"], nlohmann::json({{2, 0, 0}, {0, 1, 1}, {0, 0, 0}}));
}

TEST(EvaluationReport, TakesTheMeanOfTheCurvesThatExist) {
  EvaluationReport report;
  add_counts(report, counted(3, {0, 1}, {0, 1}));
  add_roc_auc(report, {{1, 1, 2}, {1, 1, 1}, {0, 2, 0}});

  EXPECT_EQ(report.classes[0].roc_auc, 1);
  EXPECT_EQ(report.classes[2].roc_auc, std::nullopt);
  EXPECT_EQ(to_json(report)["metrics"]["roc_auc"], 0.75);
}

TEST(EvaluationReport, GivesBothOfTwoClassesTheOneCurve) {
  EvaluationReport report;
  add_counts(report, counted(2, {0, 1}, {0, 1}));
  add_roc_auc(report, {{1, 1, 1}});

  EXPECT_EQ(report.classes[0].roc_auc, 0.5);
  EXPECT_EQ(report.classes[1].roc_auc, 0.5);
  EXPECT_EQ(to_json(report)["metrics"]["roc_auc"], 0.5);
}

}  // namespace
}  // namespace lockstep::trainer
