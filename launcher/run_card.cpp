#include "launcher/run_card.hpp"

#include <fmt/core.h>

#include <filesystem>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::launcher {
namespace {

using base::ExitCode;

constexpr std::size_t kShownDigest = 16;

void add(std::vector<BoxLine>& lines, const char* label, std::string text) {
  if (!text.empty()) lines.push_back({label, std::move(text)});
}

std::string metrics_text(const checkpoints::RunRecord& record) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : record.metrics) {
    parts.push_back(name + " " + format_metric(value));
  }
  return base::joined(parts, "  ");
}

double median_step(const checkpoints::StepAnatomy& anatomy) {
  double seconds = 0;
  for (const auto& phase : anatomy.phases) seconds += phase.median;
  return seconds;
}

/// `2.48 ms: data 1%, forward 41%, ...` of the median rank.
std::string step_text(const checkpoints::StepAnatomy& anatomy) {
  const double step = median_step(anatomy);
  if (anatomy.steps == 0 || step <= 0) return {};
  std::vector<std::string> parts;
  for (const auto& phase : anatomy.phases) {
    parts.push_back(fmt::format("{} {:.0f}%", phase.name, 100 * phase.median / step));
  }
  return fmt::format("{:.4g} ms: ", step * 1e3) + base::joined(parts);
}

std::string ranks_text(const checkpoints::RunRecord& record) {
  if (record.world_sizes.empty()) return {};
  std::vector<std::string> sizes;
  for (const auto& change : record.world_sizes) {
    const auto size = std::to_string(change.world_size);
    if (sizes.empty() || sizes.back() != size) sizes.push_back(size);
  }
  return fmt::format(" on {} {}", base::joined(sizes, ", then "),
                     sizes.size() == 1 && sizes[0] == "1" ? "rank" : "ranks");
}

std::string happened_text(const checkpoints::RunRecord& record) {
  if (record.restarts == 0) return {};
  return record.restarts == 1 ? "1 restart" : fmt::format("{} restarts", record.restarts);
}

const char* how_it_ended(int exit_code) {
  switch (static_cast<ExitCode>(exit_code)) {
    case ExitCode::kDone: return "done";
    case ExitCode::kStopped: return "stopped on request, state saved";
    case ExitCode::kWallLimit: return "ended by launch.wall_limit before the state could be saved";
    default: return "stopped at once, go on from the last checkpoint";
  }
}

std::string where_text(const Verdict& verdict) {
  std::vector<std::string> parts;
  if (verdict.rank >= 0) parts.push_back(fmt::format("rank {}", verdict.rank));
  if (!verdict.host.empty()) parts.push_back("host " + verdict.host);
  if (!verdict.phase.empty()) parts.push_back("phase " + verdict.phase);
  if (verdict.step >= 0) parts.push_back(fmt::format("step {}", verdict.step));
  return base::joined(parts);
}

}  // namespace

std::string reference_to(const std::string& run_path) {
  const std::filesystem::path path(run_path);
  std::error_code ignored;
  if (std::filesystem::equivalent(path.parent_path(), "runs", ignored)) return path.filename();
  return run_path;
}

std::string straggler_text(const checkpoints::StepAnatomy& anatomy) {
  if (anatomy.straggler < 0) return {};
  return fmt::format("rank {} on host {}: {:.0f}% more work time than the others",
                     anatomy.straggler, anatomy.straggler_host, 100 * anatomy.straggler_excess);
}

std::string format_metric(double value) { return fmt::format("{:.4g}", value); }

std::string end_card(const Style& style, const checkpoints::RunRecord& record,
                     const std::string& run_path, std::chrono::nanoseconds wall) {
  const auto reference = reference_to(run_path);
  const bool done = record.status == "done";
  std::vector<BoxLine> lines;
  add(lines, "metrics", metrics_text(record));
  add(lines, "time", base::format_duration(wall) + ranks_text(record));
  add(lines, "reached", fmt::format("step {}, epoch {:.4g}", record.step, record.epoch));
  add(lines, "a step", step_text(record.step_anatomy));
  add(lines, "straggler", straggler_text(record.step_anatomy));
  add(lines, "happened", happened_text(record));
  add(lines, "state", record.state_digest.substr(0, kShownDigest));
  add(lines, "files", run_path);
  if (done) {
    add(lines, "next", "lockstep show " + reference);
    add(lines, "", "lockstep evaluate " + reference);
    add(lines, "", "lockstep predict " + reference + " --output predictions.h5");
  } else {
    add(lines, "next", "lockstep resume " + reference);
    add(lines, "", "lockstep show " + reference);
    add(lines, "", "lockstep verify " + reference);
  }
  const auto title = fmt::format("{}: {}", record.name, how_it_ended(record.exit_code));
  return box(style, title, done ? Tone::kGood : Tone::kWarning, lines);
}

std::string failure_table(const Style& style, const FailureReport& report) {
  const auto& verdict = report.verdict;
  std::vector<BoxLine> lines;
  add(lines, "cause", verdict.message.empty() ? verdict.cause : verdict.message);
  add(lines, "where", where_text(verdict));
  add(lines, "class", verdict.message.empty() ? std::string() : verdict.cause);
  add(lines, "exit code",
      fmt::format("{} ({})", report.exit_code, describe(static_cast<ExitCode>(report.exit_code))));
  add(lines, "log", report.log_path);
  add(lines, "try", verdict.advice);
  if (!report.run_path.empty()) {
    // A step that diverged does so again.
    const bool diverged = report.exit_code == static_cast<int>(ExitCode::kDiverged);
    const auto reference = reference_to(report.run_path);
    const auto next = diverged
                          ? fmt::format("lockstep replay {} --step {}", reference, verdict.step + 1)
                          : "lockstep resume " + reference;
    // The ranks' own advice may name it already.
    if (verdict.advice.find("lockstep resume") == std::string::npos &&
        !(diverged && verdict.step < 0)) {
      add(lines, verdict.advice.empty() ? "try" : "", next);
    }
  }
  return box(style, "run failed", Tone::kError, lines);
}

}  // namespace lockstep::launcher
