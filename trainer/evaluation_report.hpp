#pragma once
// What a detailed evaluation finds, as numbers and as JSON. Used by `evaluate`. Plain values and
// pure functions, any thread. Torch-free.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/batch.hpp"
#include "trainer/class_counts.hpp"
#include "trainer/roc_auc.hpp"

namespace lockstep::trainer {

/// Nothing where a quotient has nothing to divide by.
struct ClassReport {
  std::int64_t support = 0;         ///< samples of the class
  std::int64_t predicted = 0;       ///< samples taken for it
  std::optional<double> precision;  ///< right ones of those taken for it; 0 when there are none
  std::optional<double> recall;     ///< right ones of its own
  std::optional<double> f1;
  std::optional<double> roc_auc;  ///< the class against the rest
};

struct EvaluationReport {
  data::TaskKind kind = data::TaskKind::kClassification;
  std::int64_t samples = 0;
  /// In the order in which people are shown them; nothing for what is not defined.
  std::vector<std::pair<std::string, std::optional<double>>> metrics;
  std::vector<ClassReport> classes;     ///< classification only
  std::vector<std::int64_t> confusion;  ///< [classes, classes]: row = true class; or empty
  std::vector<std::string> notes;       ///< what was left out, and why
};

/// `accuracy` (the first metric), `top_K`, and with class counts the classes, their confusion, and
/// `macro_precision`, `macro_recall`, `macro_f1`: means over the classes that have samples. A class
/// that is never predicted has precision 0, as scikit-learn's zero_division=0.
void add_counts(EvaluationReport& report, const ClassCounts& counts);

/// `roc_auc` of each class and of all: with two classes that of the second, otherwise the mean over
/// the classes that have one. `pairs`: as ClassScores::compare gives them, after add_counts.
void add_roc_auc(EvaluationReport& report, const std::vector<PairCounts>& pairs);

/// `task`, `samples`, `metrics` (each under its name), for classification `classes` and
/// `confusion_matrix`, and `notes`; null for what is not defined.
nlohmann::ordered_json to_json(const EvaluationReport& report);

}  // namespace lockstep::trainer
