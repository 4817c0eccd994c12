#include "launcher/settle_run.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "checkpoints/json_lines.hpp"

namespace lockstep::launcher {
namespace {

using base::ExitCode;

nlohmann::ordered_json event_of(const char* name, const Verdict& verdict, const std::string& time) {
  nlohmann::ordered_json event{{"event", name}, {"time", time}, {"cause", verdict.cause}};
  event["rank"] =
      verdict.rank < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(verdict.rank);
  event["host"] = verdict.host;
  event["phase"] = verdict.phase;
  event["step"] =
      verdict.step < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(verdict.step);
  event["message"] = verdict.message;
  event["advice"] = verdict.advice;
  event["exit_code"] = verdict.exit_code;
  event["by"] = "supervisor";
  return event;
}

}  // namespace

const char* status_of(int exit_code) {
  switch (static_cast<ExitCode>(exit_code)) {
    case ExitCode::kDone: return "done";
    case ExitCode::kDiverged: return "diverged";
    case ExitCode::kStopped:
    case ExitCode::kWallLimit:
    case ExitCode::kInterrupted:
    case ExitCode::kTerminated: return "stopped";
    default: return "failed";
  }
}

void end_record(const checkpoints::RunDirectory& run, int exit_code, const std::string& time) {
  auto record = run.read_record();
  record.status = status_of(exit_code);
  record.exit_code = exit_code;
  record.ended = time;
  run.write_record(record);
}

void note_restart(base::FileSystem& files, const checkpoints::RunDirectory& run,
                  const Verdict& verdict, int ranks, const base::Clock& clock) {
  auto record = run.read_record();
  ++record.restarts;
  record.status = "running";
  record.exit_code = -1;
  record.ended.clear();
  run.write_record(record);
  checkpoints::JsonLines(files, run.events_path())
      .append({{"event", "restart"},
               {"time", base::format_utc(clock.wall())},
               {"number", record.restarts},
               {"cause", verdict.cause},
               {"world_size", ranks}});
}

checkpoints::RunRecord settle_run(base::FileSystem& files, const checkpoints::RunDirectory& run,
                                  const LaunchEnd& end, const base::Clock& clock) {
  const auto time = base::format_utc(clock.wall());
  auto record = run.read_record();
  if (end.verdict && end.source != VerdictSource::kRanks) {
    // A launch leaves one failure; what is found out besides has a name of its own.
    const char* name = end.source == VerdictSource::kBoth ? "root_cause" : "failure";
    checkpoints::JsonLines(files, run.events_path()).append(event_of(name, *end.verdict, time));
  }
  if (record.status == "running" || record.exit_code != end.exit_code) {
    record.status = status_of(end.exit_code);
    record.exit_code = end.exit_code;
    if (record.ended.empty() || record.status != "done") record.ended = time;
    run.write_record(record);
  }
  return record;
}

}  // namespace lockstep::launcher
