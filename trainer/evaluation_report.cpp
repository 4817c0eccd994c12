#include "trainer/evaluation_report.hpp"

#include <nlohmann/json.hpp>

namespace lockstep::trainer {
namespace {

std::optional<double> quotient(std::int64_t part, std::int64_t whole) {
  if (whole == 0) return std::nullopt;
  return static_cast<double>(part) / static_cast<double>(whole);
}

ClassReport class_report(const ClassCounts& counts, std::int64_t label) {
  ClassReport report;
  report.support = counts.support(label);
  report.predicted = counts.predicted(label);
  const auto right = counts.correct_of(label);
  report.precision = quotient(right, report.predicted);
  if (report.support > 0) {
    report.precision = report.precision.value_or(0);
    report.recall = quotient(right, report.support);
    report.f1 = quotient(2 * right, report.support + report.predicted);
  }
  return report;
}

/// Mean over the classes that have samples and the number.
std::optional<double> mean_of(const std::vector<ClassReport>& classes,
                              std::optional<double> ClassReport::*number) {
  double sum = 0;
  std::int64_t count = 0;
  for (const auto& entry : classes) {
    if (entry.support == 0 || !(entry.*number)) continue;
    sum += *(entry.*number);
    ++count;
  }
  if (count == 0) return std::nullopt;
  return sum / static_cast<double>(count);
}

nlohmann::ordered_json json_of(const std::optional<double>& number) {
  return number ? nlohmann::ordered_json(*number) : nlohmann::ordered_json();
}

}  // namespace

void add_counts(EvaluationReport& report, const ClassCounts& counts) {
  auto& metrics = report.metrics;
  metrics.emplace_back("accuracy", quotient(counts.correct(), counts.samples()));
  for (std::size_t i = 0; i < counts.top_k().size(); ++i) {
    metrics.emplace_back("top_" + std::to_string(counts.top_k()[i]),
                         quotient(counts.hits(i), counts.samples()));
  }
  if (!counts.has_classes()) return;
  for (std::int64_t label = 0; label < counts.classes(); ++label) {
    report.classes.push_back(class_report(counts, label));
  }
  metrics.emplace_back("macro_precision", mean_of(report.classes, &ClassReport::precision));
  metrics.emplace_back("macro_recall", mean_of(report.classes, &ClassReport::recall));
  metrics.emplace_back("macro_f1", mean_of(report.classes, &ClassReport::f1));
  report.confusion.assign(counts.confusion().begin(), counts.confusion().end());
}

void add_roc_auc(EvaluationReport& report, const std::vector<PairCounts>& pairs) {
  for (std::size_t label = 0; label < report.classes.size(); ++label) {
    report.classes[label].roc_auc = pairs[pairs.size() == 1 ? 0 : label].auc();
  }
  report.metrics.emplace_back("roc_auc", mean_of(report.classes, &ClassReport::roc_auc));
}

nlohmann::ordered_json to_json(const EvaluationReport& report) {
  nlohmann::ordered_json json;
  json["task"] = data::name_of(report.kind);
  json["samples"] = report.samples;
  auto& metrics = json["metrics"] = nlohmann::ordered_json::object();
  for (const auto& [name, value] : report.metrics) metrics[name] = json_of(value);
  if (!report.classes.empty()) {
    auto& list = json["classes"] = nlohmann::ordered_json::array();
    for (std::size_t label = 0; label < report.classes.size(); ++label) {
      const auto& entry = report.classes[label];
      list.push_back({{"class", label},
                      {"support", entry.support},
                      {"predicted", entry.predicted},
                      {"precision", json_of(entry.precision)},
                      {"recall", json_of(entry.recall)},
                      {"f1", json_of(entry.f1)},
                      {"roc_auc", json_of(entry.roc_auc)}});
    }
  }
  if (!report.confusion.empty()) {
    auto& matrix = json["confusion_matrix"] = nlohmann::ordered_json::array();
    const auto classes = static_cast<std::ptrdiff_t>(report.classes.size());
    for (auto row = report.confusion.begin(); row != report.confusion.end(); row += classes) {
      matrix.push_back(std::vector<std::int64_t>(row, row + classes));
    }
  }
  json["notes"] = report.notes;
  return json;
}

}  // namespace lockstep::trainer
