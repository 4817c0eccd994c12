#include "trainer/detailed_evaluation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/trainer/asked_model.hpp"
#include "trainer/evaluation.hpp"

namespace lockstep::trainer {
namespace {

using testing::HasSubstr;

class DetailedEvaluation : public testing::Test {
 protected:
  /// `samples` samples of `classes` classes, with outputs from few values: many ties.
  void draw_classes(std::int64_t samples, std::int64_t classes) {
    std::mt19937_64 random(7);
    for (std::int64_t i = 0; i < samples; ++i) {
      y_.push_back(static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(classes)));
      for (std::int64_t c = 0; c < classes; ++c) {
        x_.push_back(static_cast<float>(random() % 8) / 4 + (c == y_.back() ? 0.5F : 0.0F));
      }
    }
    tests::write_classes(path_, x_, y_);
    source_ = {.paths = {path_}, .classes = classes};
    kind_ = ObjectiveKind::kClassification;
  }

  void draw_numbers(std::int64_t samples, std::int64_t width, float offset) {
    std::mt19937_64 random(8);
    std::normal_distribution<float> normal;
    for (std::int64_t i = 0; i < samples * width; ++i) {
      targets_.push_back(offset + normal(random));
      x_.push_back(targets_.back() + 0.5F * normal(random));
    }
    tests::write_numbers(path_, samples, x_, targets_);
    source_ = {.paths = {path_}};
    kind_ = ObjectiveKind::kRegression;
  }

  /// The report on a number of ranks as JSON text, and the same from each of them.
  std::string evaluate_on(int ranks, DetailedEvaluationOptions options = {.batch = 7}) {
    std::mutex mutex;
    std::vector<std::string> reports;
    tests::ask_on_ranks(ranks, source_, [&](RankGroup group, auto& space, auto& source) {
      const Objective objective(kind_, 0);
      const auto report = evaluate_in_detail(group, space, objective, source, options);
      const auto simple =
          evaluate(group, space, objective, source, EvaluationOptions{.batch = options.batch})
              .value();
      for (const auto& [name, value] : simple) {
        const auto found = std::ranges::find(report.metrics, name,
                                             &std::pair<std::string, std::optional<double>>::first);
        ASSERT_NE(found, report.metrics.end()) << name;
        EXPECT_EQ(found->second, value) << name << " is not that of the simple evaluation";
      }
      const std::lock_guard lock(mutex);
      reports.push_back(to_json(report).dump());
    });
    EXPECT_EQ(reports.size(), static_cast<std::size_t>(ranks));
    for (const auto& report : reports) EXPECT_EQ(report, reports[0]);
    return reports[0];
  }

  tests::TemporaryDirectory directory_;
  std::string path_ = directory_.file("data.h5");
  std::vector<float> x_, targets_;
  std::vector<std::int64_t> y_;
  data::SourceOptions source_;
  ObjectiveKind kind_ = ObjectiveKind::kClassification;
};

TEST_F(DetailedEvaluation, HasTheSameBitsOnAnyRanks) {
  draw_classes(101, 7);
  const auto alone = evaluate_on(1);
  for (const int ranks : {2, 3, 5}) EXPECT_EQ(evaluate_on(ranks), alone) << ranks;
}

TEST_F(DetailedEvaluation, HasTheSameCountsAtAnyBatch) {
  draw_classes(101, 7);
  const auto at = [&](std::int64_t batch) {
    auto report = nlohmann::json::parse(evaluate_on(2, {.batch = batch}));
    report["metrics"].erase("loss");  // a sum of rounded numbers
    return report;
  };
  EXPECT_EQ(at(7), at(64));
}

TEST_F(DetailedEvaluation, IsWhatOneCountsByHand) {
  x_ = {2, 0, 0, 0, 2, 2, 1, 1, 1, 0, 0, 9};
  y_ = {0, 2, 1, 2};
  tests::write_classes(path_, x_, y_);
  source_ = {.paths = {path_}, .classes = 3};

  const auto report = nlohmann::json::parse(evaluate_on(2, {.batch = 1, .top_k = {1, 2}}));

  const auto& metrics = report["metrics"];
  EXPECT_EQ(metrics["accuracy"], 0.5);
  EXPECT_EQ(metrics["top_1"], 0.5);
  EXPECT_EQ(metrics["top_2"], 1);
  EXPECT_EQ(report["confusion_matrix"], nlohmann::json({{1, 0, 0}, {1, 0, 0}, {0, 1, 1}}));
  // Log-odds of class 2: -0.1 and 8.3 for its own samples, -2.1 and -0.7 for the others.
  EXPECT_EQ(report["classes"][2]["roc_auc"], 1);
  EXPECT_FALSE(metrics.contains("top_5"));
}

TEST_F(DetailedEvaluation, CountsTheTopFiveOfMoreThanFiveClasses) {
  draw_classes(20, 5);
  EXPECT_THAT(evaluate_on(1), testing::Not(HasSubstr("top_")));
  x_.clear();
  y_.clear();
  draw_classes(20, 6);
  EXPECT_THAT(evaluate_on(1), HasSubstr("\"top_5\""));
}

TEST_F(DetailedEvaluation, ComputesTheShareOfVarianceThatIsExplained) {
  draw_numbers(90, 3, 0);
  double r2 = 0;
  for (std::size_t c = 0; c < 3; ++c) {
    double mean = 0, total = 0, left = 0;
    for (std::size_t i = c; i < targets_.size(); i += 3) mean += targets_[i] / 90.0;
    for (std::size_t i = c; i < targets_.size(); i += 3) {
      total += std::pow(targets_[i] - mean, 2);
      left += std::pow(static_cast<double>(x_[i]) - targets_[i], 2);
    }
    r2 += (1 - left / total) / 3;
  }

  const auto alone = evaluate_on(1);

  const auto metrics = nlohmann::json::parse(alone)["metrics"];
  EXPECT_NEAR(metrics["r2"].get<double>(), r2, 1e-12);
  EXPECT_EQ(metrics["mse"], metrics["loss"]);
  EXPECT_EQ(evaluate_on(3), alone);
}

TEST_F(DetailedEvaluation, KeepsTheVarianceOfTargetsFarFromZero) {
  // Sums of squares would leave nothing of a deviation of 1 at a mean of 1e6.
  draw_numbers(200, 1, 1e6F);
  double mean = 0, total = 0, left = 0;
  for (const auto target : targets_) mean += target / 200.0;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    total += std::pow(targets_[i] - mean, 2);
    left += std::pow(static_cast<double>(x_[i]) - targets_[i], 2);
  }

  const auto metrics = nlohmann::json::parse(evaluate_on(2))["metrics"];

  EXPECT_NEAR(metrics["r2"].get<double>(), 1 - left / total, 1e-8);
}

TEST_F(DetailedEvaluation, DefinesNoR2OfTargetsThatAreAllEqual) {
  tests::write_numbers(path_, 3, {1, 2, 3}, {5, 5, 5});
  source_ = {.paths = {path_}};
  kind_ = ObjectiveKind::kRegression;

  EXPECT_TRUE(nlohmann::json::parse(evaluate_on(1))["metrics"]["r2"].is_null());
}

TEST_F(DetailedEvaluation, RefusesOutputsThatAreNoNumbersAndATopKOfTooMany) {
  draw_classes(30, 3);
  try {
    evaluate_on(1, {.batch = 7, .top_k = {4}});
    FAIL() << "a top 4 of 3 classes";
  } catch (const base::ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("there are 3 classes"));
  }
  // The file's own numbers must be finite; the model's need not be.
  const float huge = 3e38F;
  x_[3 * 17] = huge;
  tests::write_classes(path_, x_, y_);
  try {
    tests::ask_on_ranks(2, source_, [&](RankGroup group, auto& space, auto& source) {
      if (group.world.rank() == 1) space.memory().flat[0] = 10;
      evaluate_in_detail(group, space, Objective(kind_, 0), source, {.batch = 5});
    });
    FAIL() << "infinite outputs";
  } catch (const base::DivergenceError& error) {
    EXPECT_THAT(error.what(), HasSubstr("sample 17 "));
  }
}

TEST_F(DetailedEvaluation, LeavesTheCurvesOutWhenToldTo) {
  draw_classes(30, 3);
  const auto report =
      nlohmann::json::parse(evaluate_on(2, {.batch = 7, .top_k = {}, .roc_auc = RocAuc::kOff}));
  EXPECT_FALSE(report["metrics"].contains("roc_auc"));
  EXPECT_TRUE(report["classes"][0]["roc_auc"].is_null());
}

}  // namespace
}  // namespace lockstep::trainer
