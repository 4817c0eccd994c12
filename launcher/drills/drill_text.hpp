#pragma once
// How drills and their results look: lines of a table that is printed as it grows, and JSON.
// Pure functions, any thread.

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "launcher/drills/observation.hpp"
#include "launcher/terminal.hpp"

namespace lockstep::launcher {

struct DrillResult {
  Drill drill;
  Observation observed;
  std::vector<std::string> problems;  ///< empty = passed
  std::string log;
};

/// Title of the columns; the first is as wide as the longest name needs.
std::string drill_header(const Style& style, std::span<const Drill> drills);
/// The line of a drill that is done, and one for each problem and for where the files are.
std::string drill_line(const Style& style, std::span<const Drill> drills,
                       const DrillResult& result);
/// `all 14 passed in 41.0s on 2 ranks`, or how many failed and where to look.
std::string drill_summary(const Style& style, std::span<const DrillResult> results, int ranks,
                          std::chrono::nanoseconds took, const std::string& folder);
nlohmann::ordered_json drill_json(std::span<const DrillResult> results, int ranks,
                                  const std::string& folder);

/// `--list`: name and what is done.
std::string drill_list(const Style& style, std::span<const Drill> drills);
nlohmann::ordered_json drill_list_json(std::span<const Drill> drills);

}  // namespace lockstep::launcher
