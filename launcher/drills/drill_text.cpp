#include "launcher/drills/drill_text.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.hpp"

namespace lockstep::launcher {
namespace {

std::size_t name_width(std::span<const Drill> drills) {
  std::size_t width = 0;
  for (const auto& drill : drills) width = std::max(width, drill.name.size());
  return width;
}

std::int64_t repeated_of(const Observation& observed) {
  return observed.run ? observed.run->repeated : 0;
}

}  // namespace

std::string drill_header(const Style& style, std::span<const Drill> drills) {
  return paint(style, Tone::kStrong,
               fmt::format("{:<{}}  {:<6}  {:>7}  {:>8}  {}", "drill", name_width(drills), "result",
                           "time", "repeated", "what happened")) +
         "\n";
}

std::string drill_line(const Style& style, std::span<const Drill> drills,
                       const DrillResult& result) {
  const auto width = name_width(drills);
  const bool passed = result.problems.empty();
  const auto what = happened(result.drill, result.observed);
  auto text = fmt::format(
      "{:<{}}  {}  {:>7}  {:>8}", result.drill.name, width,
      passed ? paint(style, Tone::kGood, "passed") : paint(style, Tone::kError, "FAILED"),
      base::format_duration(result.observed.took), repeated_of(result.observed));
  if (!what.empty()) text += "  " + what;
  text += "\n";
  for (const auto& problem : result.problems) {
    text += fmt::format("{:<{}}  {}\n", "", width, problem);
  }
  if (!passed) text += fmt::format("{:<{}}  messages: {}\n", "", width, result.log);
  return text;
}

std::string drill_summary(const Style& style, std::span<const DrillResult> results, int ranks,
                          std::chrono::nanoseconds took, const std::string& folder) {
  const auto failed =
      std::ranges::count_if(results, [](const auto& result) { return !result.problems.empty(); });
  const auto on =
      fmt::format("{} on {} {}", base::format_duration(took), ranks, ranks == 1 ? "rank" : "ranks");
  auto text = failed == 0 ? paint(style, Tone::kGood, fmt::format("all {} passed", results.size()))
                          : paint(style, Tone::kError,
                                  fmt::format("{} of {} failed", failed, results.size()));
  text += fmt::format(" in {}\n", on);
  if (!folder.empty()) text += fmt::format("files: {}\n", folder);
  return text;
}

nlohmann::ordered_json drill_json(std::span<const DrillResult> results, int ranks,
                                  const std::string& folder) {
  nlohmann::ordered_json json;
  json["passed"] =
      std::ranges::all_of(results, [](const auto& result) { return result.problems.empty(); });
  json["ranks"] = ranks;
  json["files"] = folder;
  json["drills"] = nlohmann::ordered_json::array();
  for (const auto& result : results) {
    const auto& observed = result.observed;
    json["drills"].push_back({{"name", result.drill.name},
                              {"passed", result.problems.empty()},
                              {"seconds", std::chrono::duration<double>(observed.took).count()},
                              {"exit_codes", observed.exit_codes},
                              {"restarts", observed.run ? observed.run->restarts : 0},
                              {"steps_repeated", repeated_of(observed)},
                              {"state_digest", observed.run ? observed.run->state_digest : ""},
                              {"happened", happened(result.drill, observed)},
                              {"problems", result.problems}});
  }
  return json;
}

std::string drill_list(const Style& style, std::span<const Drill> drills) {
  Table table({{"drill"}, {"what is done to a run"}});
  for (const auto& drill : drills) table.add_row({drill.name, drill.summary});
  return table.text(style);
}

nlohmann::ordered_json drill_list_json(std::span<const Drill> drills) {
  auto json = nlohmann::ordered_json::array();
  for (const auto& drill : drills) json.push_back({{"name", drill.name}, {"does", drill.summary}});
  return json;
}

}  // namespace lockstep::launcher
