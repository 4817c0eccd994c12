#pragma once
// What `evaluate` is told and what it prints, but for its numbers: options, gates, and the report
// of people. Command line and worker share it. Pure functions, any thread.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "launcher/terminal.hpp"

namespace lockstep::launcher {

/// `1,3,5` as numbers from 1, each once. Throws ConfigError.
std::vector<std::int64_t> parse_top_k(const std::string& text);

/// A bound that a metric must keep for the command to succeed.
struct Gate {
  enum class Side { kAtLeast, kAtMost };
  std::string metric;
  double bound = 0;
  Side side = Side::kAtLeast;
};

/// `accuracy=0.9`. Throws ConfigError.
Gate parse_gate(const std::string& text, Gate::Side side);

/// A line for each gate that `metrics` (a JSON object of numbers and nulls) does not pass; null
/// passes none. Throws ConfigError for a metric that is not there.
std::vector<std::string> failed_gates(const nlohmann::ordered_json& metrics,
                                      const std::vector<Gate>& gates);

/// The report of `evaluate --json` for people: metrics in a line, a table of the first 20 classes,
/// and the first 20 rows and columns of the confusion matrix.
std::string evaluation_text(const nlohmann::ordered_json& report, const Style& style);

}  // namespace lockstep::launcher
