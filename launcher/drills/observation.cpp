#include "launcher/drills/observation.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "checkpoints/json_lines.hpp"
#include "checkpoints/registry.hpp"

namespace lockstep::launcher {
namespace {

using nlohmann::json;

constexpr std::size_t kShownDigest = 16;

template <class T>
T value_of(const json& line, const char* key, T otherwise) {
  const auto place = line.find(key);
  if (place == line.end()) return otherwise;
  if constexpr (std::is_same_v<T, std::string>) {
    return place->is_string() ? place->get<std::string>() : otherwise;
  } else {
    return place->is_number_integer() ? place->get<T>() : otherwise;
  }
}

std::vector<DrillEvent> read_events_of(base::FileSystem& files, const std::string& path) {
  std::vector<DrillEvent> events;
  for (const auto& line : checkpoints::read_json_lines(files, path)) {
    if (!line.is_object()) continue;
    events.push_back({.name = value_of<std::string>(line, "event", ""),
                      .cause = value_of<std::string>(line, "cause", ""),
                      .rank = value_of(line, "rank", -1),
                      .phase = value_of<std::string>(line, "phase", ""),
                      .step = value_of<std::int64_t>(line, "step", -1),
                      .exit_code = value_of(line, "exit_code", -1),
                      .from = value_of<std::string>(line, "from", "")});
  }
  return events;
}

bool is_failure(const DrillEvent& event) {
  return event.name == "failure" || event.name == "root_cause";
}

/// The root cause of each failed launch: what was found out behind a failure replaces it.
std::vector<DrillEvent> without_shadowed(const std::vector<DrillEvent>& events) {
  std::vector<DrillEvent> kept;
  for (const auto& event : events) {
    const auto is_its_failure = [](const DrillEvent& e) { return e.name == "failure"; };
    if (event.name == "root_cause") {
      const auto last = std::find_if(kept.rbegin(), kept.rend(), is_its_failure);
      if (last != kept.rend()) {
        *last = event;
        continue;
      }
    }
    kept.push_back(event);
  }
  return kept;
}

std::string place_of(const DrillEvent& event) {
  std::vector<std::string> parts;
  if (event.rank >= 0) parts.push_back(fmt::format("rank {}", event.rank));
  if (!event.phase.empty() && event.step >= 0) {
    parts.push_back(fmt::format("{} {}", event.phase, event.step));
  } else if (!event.phase.empty()) {
    parts.push_back(event.phase);
  }
  return parts.empty() ? "" : " (" + base::joined(parts) + ")";
}

std::string short_digest(const std::string& digest) {
  return digest.empty() ? "none" : digest.substr(0, kShownDigest);
}

void compare_run(const Drill& drill, const DrilledRun& run, const std::string& undisturbed,
                 std::vector<std::string>& problems) {
  const auto& expected = drill.expectation;
  if (run.status != expected.status) {
    problems.push_back(fmt::format("the run is '{}', not '{}'", run.status, expected.status));
  }
  if (expected.state == DrillExpectation::State::kAsUndisturbed &&
      run.state_digest != undisturbed) {
    problems.push_back(fmt::format("the state is {}, undisturbed it is {}",
                                   short_digest(run.state_digest), short_digest(undisturbed)));
  }
  if (expected.status == "done" && run.step != kDrillSteps) {
    problems.push_back(fmt::format("the run ends with step {}, not {}", run.step, kDrillSteps));
  }
  if (run.restarts != expected.restarts) {
    problems.push_back(fmt::format("{} restarts, not {}", run.restarts, expected.restarts));
  }
  if (expected.straggler != run.straggler && expected.straggler >= 0) {
    problems.push_back(
        run.straggler < 0 ? fmt::format("rank {} is not named as the straggler", expected.straggler)
                          : fmt::format("rank {} is named as the straggler, not rank {}",
                                        run.straggler, expected.straggler));
  }
  if (run.repeated < expected.least_repeated) {
    problems.push_back(fmt::format("{} steps were repeated, not {} or more", run.repeated,
                                   expected.least_repeated));
  }
  if (!run.unsound.empty()) problems.push_back(run.unsound);

  bool failed = false;
  for (const auto& event : without_shadowed(run.events)) {
    if (!is_failure(event)) continue;
    failed = true;
    if (event.cause == expected.cause) continue;
    problems.push_back(fmt::format("a failure's cause is '{}'{}, not '{}'", event.cause,
                                   place_of(event),
                                   expected.cause.empty() ? "none" : expected.cause));
  }
  if (!failed && !expected.cause.empty()) {
    problems.push_back(fmt::format("no failure of cause '{}' was noted", expected.cause));
  }
  const auto wanted = [&](const DrillEvent& event) { return event.name == expected.event; };
  if (!expected.event.empty() && std::ranges::none_of(run.events, wanted)) {
    problems.push_back(fmt::format("no event '{}' was noted", expected.event));
  }
}

}  // namespace

DrilledRun read_run(base::FileSystem& files, const std::string& run_path) {
  DrilledRun drilled;
  try {
    const auto run = checkpoints::RunDirectory::open(files, ".", run_path);
    const auto record = run.read_record();
    drilled.status = record.status;
    drilled.state_digest = record.state_digest;
    drilled.step = record.step;
    drilled.restarts = record.restarts;
    drilled.straggler = record.step_anatomy.straggler;
    drilled.events = read_events_of(files, run.events_path());
    const auto superseded =
        base::join_path(base::parent_path(run.ledger_path()), "ledger.superseded.jsonl");
    for (const auto& line : checkpoints::read_json_lines(files, superseded)) {
      // Others tell the digest of a step that was saved.
      if (line.is_object() && line.contains("step")) ++drilled.repeated;
    }
    const auto verified = checkpoints::verify_run(files, run);
    if (!verified.good) drilled.unsound = "'verify' finds: " + base::joined(verified.lines);
  } catch (const base::Error& error) {
    drilled.unsound = error.what();
  }
  return drilled;
}

std::vector<std::string> differences(const Drill& drill, const Observation& observed,
                                     const std::string& undisturbed) {
  std::vector<std::string> problems;
  if (!observed.late.empty()) problems.push_back(observed.late);
  for (std::size_t i = 0; i < observed.exit_codes.size() && i < drill.launches.size(); ++i) {
    if (observed.exit_codes[i] == drill.launches[i].exit_code) continue;
    const auto* verb = drill.launches[i].verb == DrillLaunch::Verb::kTrain ? "train" : "resume";
    problems.push_back(fmt::format("'lockstep {}' ended with exit code {}, not {}", verb,
                                   observed.exit_codes[i], drill.launches[i].exit_code));
  }
  for (const auto& leftover : observed.leftovers) problems.push_back("left behind: " + leftover);
  if (!observed.run) {
    problems.emplace_back("it left no run");
    return problems;
  }
  // The rest would only repeat that it did not come to its end.
  if (observed.late.empty()) compare_run(drill, *observed.run, undisturbed, problems);
  const auto& says = drill.expectation.says;
  if (!says.empty() && observed.messages.find(says) == std::string::npos) {
    problems.push_back("no message says " + base::quote(says));
  }
  return problems;
}

std::string happened(const Drill& drill, const Observation& observed) {
  if (!observed.run) return "";
  std::vector<std::string> parts;
  for (const auto& event : without_shadowed(observed.run->events)) {
    if (is_failure(event)) {
      parts.push_back(event.cause + place_of(event));
    } else if (event.name == "restart") {
      parts.emplace_back("restart");
    } else if (event.name == "resume") {
      parts.push_back(
          fmt::format("on from step {}{}", event.step, event.from == "memory" ? " in memory" : ""));
    } else if (event.name == "checkpoint_failed") {
      parts.push_back(fmt::format("save of step {} failed", event.step));
    } else if (event.name == "end" &&
               event.exit_code == static_cast<int>(base::ExitCode::kStopped)) {
      parts.emplace_back("stopped and saved");
    }
  }
  // On a busy machine the record of any run may name one.
  if (drill.expectation.straggler >= 0 && observed.run->straggler >= 0) {
    parts.push_back(fmt::format("rank {} is slow", observed.run->straggler));
  }
  return base::joined(parts);
}

}  // namespace lockstep::launcher
