#include "launcher/evaluation_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace lockstep::launcher {
namespace {

using nlohmann::ordered_json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

ordered_json report_of(std::size_t classes) {
  ordered_json report{{"run", "amber-heron"},
                      {"step", 412},
                      {"data", "test.h5"},
                      {"samples", 12345},
                      {"metrics",
                       {{"loss", 0.25},
                        {"accuracy", 0.875},
                        {"macro_precision", 0.5},
                        {"macro_recall", 0.75},
                        {"macro_f1", nullptr},
                        {"roc_auc", 0.9}}},
                      {"notes", ordered_json::array()}};
  for (std::size_t c = 0; c < classes; ++c) {
    report["classes"].push_back({{"class", c},
                                 {"support", 1000 + c},
                                 {"predicted", c},
                                 {"precision", 0.5},
                                 {"recall", nullptr},
                                 {"f1", 0.25},
                                 {"roc_auc", 1.0}});
    report["confusion_matrix"].push_back(std::vector<std::size_t>(classes, c));
  }
  return report;
}

TEST(EvaluationText, ShowsMetricsClassesAndConfusion) {
  const auto text = evaluation_text(report_of(2), {});

  EXPECT_EQ(text,
            "amber-heron, step 412: 12,345 samples of test.h5\n"
            "\n"
            "loss 0.25  accuracy 0.875  macro_precision 0.5  macro_recall 0.75  macro_f1 "
            "undefined  roc_auc 0.9\n"
            "\n"
            "class  precision  recall      f1  roc auc  support  predicted\n"
            "    0     0.5000       -  0.2500   1.0000    1,000          0\n"
            "    1     0.5000       -  0.2500   1.0000    1,001          1\n"
            " mean     0.5000  0.7500       -   0.9000\n"
            "\n"
            "confusion matrix (rows: true class, columns: predicted class)\n"
            "true  0  1\n"
            "   0  0  0\n"
            "   1  1  1\n");
}

TEST(EvaluationText, CutsTablesAfterTwentyClasses) {
  const auto whole = evaluation_text(report_of(20), {});
  EXPECT_THAT(whole, Not(HasSubstr("...")));

  const auto cut = evaluation_text(report_of(21), {});
  EXPECT_THAT(cut, HasSubstr("\n  ...\n mean"));
  EXPECT_THAT(cut, HasSubstr("  19  ...\n"));
  EXPECT_THAT(cut, Not(HasSubstr("1,020"))) << "class 20 is shown";
}

TEST(EvaluationText, ShowsWhatHasNoClassesAndWhy) {
  auto report = report_of(0);
  report["metrics"] = {{"loss", 2.0}, {"perplexity", 7.389}};
  report["notes"] = {"no ROC-AUC: too much"};

  const auto text = evaluation_text(report, {});

  EXPECT_THAT(text, HasSubstr("loss 2  perplexity 7.389\n"));
  EXPECT_THAT(text, Not(HasSubstr("class")));
  EXPECT_THAT(text, HasSubstr("\nno ROC-AUC: too much\n"));
}

TEST(EvaluationText, ReadsTopK) {
  EXPECT_THAT(parse_top_k("1,3,5"), ElementsAre(1, 3, 5));
  EXPECT_THAT(parse_top_k(""), IsEmpty());
  for (const char* bad : {"0", "-1", "x", "1,,2", "1,1", "1.5", "3,", "99999999999999999999"}) {
    EXPECT_THROW(parse_top_k(bad), base::ConfigError) << bad;
  }
}

TEST(EvaluationText, ReadsGates) {
  const auto gate = parse_gate("accuracy=0.9", Gate::Side::kAtLeast);
  EXPECT_EQ(gate.metric, "accuracy");
  EXPECT_EQ(gate.bound, 0.9);
  for (const char* bad : {"", "accuracy", "=1", "accuracy=", "a=x", "a=1x", "a=nan", "a=inf"}) {
    EXPECT_THROW(parse_gate(bad, Gate::Side::kAtLeast), base::ConfigError) << bad;
  }
}

TEST(EvaluationText, NamesTheGatesThatFail) {
  const ordered_json metrics{{"loss", 0.5}, {"accuracy", 0.9}, {"r2", nullptr}};
  const auto failed = [&](const char* text, Gate::Side side) {
    return failed_gates(metrics, {parse_gate(text, side)});
  };

  EXPECT_THAT(failed("accuracy=0.9", Gate::Side::kAtLeast), IsEmpty());
  EXPECT_THAT(failed("loss=0.5", Gate::Side::kAtMost), IsEmpty());
  EXPECT_THAT(failed("accuracy=0.91", Gate::Side::kAtLeast),
              ElementsAre("accuracy is 0.9, at least 0.91 was asked for"));
  EXPECT_THAT(failed("loss=0.25", Gate::Side::kAtMost),
              ElementsAre("loss is 0.5, at most 0.25 was asked for"));
  EXPECT_THAT(failed("r2=0", Gate::Side::kAtLeast),
              ElementsAre("r2 is undefined, at least 0.0 was asked for"));
  EXPECT_THROW(failed("acuracy=1", Gate::Side::kAtLeast), base::ConfigError);
}

}  // namespace
}  // namespace lockstep::launcher
