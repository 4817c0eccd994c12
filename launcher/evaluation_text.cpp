#include "launcher/evaluation_text.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "launcher/run_card.hpp"

namespace lockstep::launcher {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMostShown = 20;

template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && stop == end;
}

std::string count_text(const ordered_json& number) {
  return base::format_count(number.get<std::uint64_t>());
}

std::string share_text(const ordered_json& number) {
  return number.is_number() ? fmt::format("{:.4f}", number.get<double>()) : "-";
}

/// The report's own metric as a cell, where it has it.
std::string mean_text(const ordered_json& metrics, const char* name) {
  return metrics.contains(name) ? share_text(metrics.at(name)) : "";
}

std::string metrics_line(const ordered_json& metrics) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : metrics.items()) {
    parts.push_back(name + " " +
                    (value.is_number() ? format_metric(value.get<double>()) : "undefined"));
  }
  return base::joined(parts, "  ") + "\n";
}

std::string classes_table(const ordered_json& report, const Style& style) {
  const auto& classes = report.at("classes");
  const auto& metrics = report.at("metrics");
  const bool with_auc = metrics.contains("roc_auc");
  std::vector<Table::Column> columns{{"class", Table::Align::kRight},
                                     {"precision", Table::Align::kRight},
                                     {"recall", Table::Align::kRight},
                                     {"f1", Table::Align::kRight}};
  if (with_auc) columns.push_back({"roc auc", Table::Align::kRight});
  columns.push_back({"support", Table::Align::kRight});
  columns.push_back({"predicted", Table::Align::kRight});
  Table table(std::move(columns));
  for (std::size_t i = 0; i < std::min(classes.size(), kMostShown); ++i) {
    const auto& entry = classes[i];
    std::vector<std::string> cells{entry.at("class").dump(), share_text(entry.at("precision")),
                                   share_text(entry.at("recall")), share_text(entry.at("f1"))};
    if (with_auc) cells.push_back(share_text(entry.at("roc_auc")));
    cells.push_back(count_text(entry.at("support")));
    cells.push_back(count_text(entry.at("predicted")));
    table.add_row(std::move(cells));
  }
  if (classes.size() > kMostShown) table.add_row({"..."});
  std::vector<std::string> means{"mean", mean_text(metrics, "macro_precision"),
                                 mean_text(metrics, "macro_recall"),
                                 mean_text(metrics, "macro_f1")};
  if (with_auc) means.push_back(mean_text(metrics, "roc_auc"));
  table.add_row(std::move(means));
  return table.text(style);
}

std::string confusion_table(const ordered_json& matrix, const Style& style) {
  const auto shown = std::min(matrix.size(), kMostShown);
  const bool cut = matrix.size() > shown;
  std::vector<Table::Column> columns{{"true", Table::Align::kRight}};
  for (std::size_t c = 0; c < shown; ++c) {
    columns.push_back({std::to_string(c), Table::Align::kRight});
  }
  if (cut) columns.push_back({"..."});
  Table table(std::move(columns));
  for (std::size_t row = 0; row < shown; ++row) {
    std::vector<std::string> cells{std::to_string(row)};
    for (std::size_t c = 0; c < shown; ++c) cells.push_back(matrix[row][c].dump());
    if (cut) cells.emplace_back("...");
    table.add_row(std::move(cells));
  }
  if (cut) table.add_row({"..."});
  return table.text(style);
}

}  // namespace

std::vector<std::int64_t> parse_top_k(const std::string& text) {
  std::vector<std::int64_t> numbers;
  for (const auto& part : base::split(text, ',')) {
    std::int64_t number = 0;
    const bool good = read_number(part, number) && number >= 1;
    if (!good || std::ranges::find(numbers, number) != numbers.end()) {
      throw base::ConfigError("top-k " + base::quote(part) + " cannot be used (" +
                              (good ? "it is there twice" : "it is no whole number from 1") +
                              "); write for example --top-k 1,3,5");
    }
    numbers.push_back(number);
  }
  return numbers;
}

Gate parse_gate(const std::string& text, Gate::Side side) {
  const auto equals = text.find('=');
  Gate gate{.metric = text.substr(0, equals), .bound = 0, .side = side};
  if (equals == std::string::npos || equals == 0 ||
      !read_number(std::string_view(text).substr(equals + 1), gate.bound) ||
      !std::isfinite(gate.bound)) {
    throw base::ConfigError(fmt::format(
        "bound {} cannot be used (it is no METRIC=NUMBER); write for example {}", base::quote(text),
        side == Gate::Side::kAtLeast ? "--min accuracy=0.9" : "--max loss=0.5"));
  }
  return gate;
}

std::vector<std::string> failed_gates(const ordered_json& metrics, const std::vector<Gate>& gates) {
  std::vector<std::string> lines;
  for (const auto& gate : gates) {
    const auto found = metrics.find(gate.metric);
    if (found == metrics.end()) {
      std::vector<std::string> names;
      for (const auto& [name, value] : metrics.items()) names.push_back(name);
      throw base::ConfigError("metric " + base::quote(gate.metric) +
                              " cannot be bounded (this evaluation has no such one); it has " +
                              base::joined(names));
    }
    const bool least = gate.side == Gate::Side::kAtLeast;
    const bool passes = found->is_number() && (least ? found->get<double>() >= gate.bound
                                                     : found->get<double>() <= gate.bound);
    if (passes) continue;
    lines.push_back(fmt::format("{} is {}, {} {} was asked for", gate.metric,
                                found->is_number() ? found->dump() : "undefined",
                                least ? "at least" : "at most", ordered_json(gate.bound).dump()));
  }
  return lines;
}

std::string evaluation_text(const ordered_json& report, const Style& style) {
  std::string text = fmt::format("{}, step {}: {} samples of {}\n\n",
                                 paint(style, Tone::kStrong, report.at("run").get<std::string>()),
                                 report.at("step").dump(), count_text(report.at("samples")),
                                 report.at("data").get<std::string>());
  text += metrics_line(report.at("metrics"));
  if (report.contains("classes")) text += "\n" + classes_table(report, style);
  if (report.contains("confusion_matrix")) {
    text += "\nconfusion matrix (rows: true class, columns: predicted class)\n" +
            confusion_table(report.at("confusion_matrix"), style);
  }
  for (const auto& note : report.at("notes")) text += "\n" + note.get<std::string>() + "\n";
  return text;
}

}  // namespace lockstep::launcher
