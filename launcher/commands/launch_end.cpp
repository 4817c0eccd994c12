#include "launcher/commands/launch_end.hpp"

#include "base/error.hpp"
#include "launcher/run_card.hpp"
#include "launcher/settle_run.hpp"
#include "launcher/supervise.hpp"

namespace lockstep::launcher {
namespace {

/// The log of the rank to blame, when that rank wrote one.
std::string log_of(const checkpoints::RunDirectory& run, int rank) {
  if (rank < 0) return {};
  const auto path = run.log_path(rank);
  return base::FileSystem::posix().file_size(path) ? path : std::string();
}

bool is_usage_error(const LaunchEnd& end) {
  return end.exit_code == static_cast<int>(base::ExitCode::kUsage);
}

}  // namespace

LaunchEnd run_once(const Session& session, const LaunchPlan& plan) {
  Supervisor supervisor(
      {.environment = session.environment, .events_path = {}, .print = [&](std::string_view text) {
         print_message(session.messages, text);
       }});
  return supervisor.run(plan);
}

int show_end(const Session& session, const checkpoints::RunDirectory& run, const LaunchEnd& end,
             const checkpoints::RunRecord& record) {
  if (!end.verdict) {
    const std::string clear = session.output.terminal ? "\r\x1b[K" : "";
    print(clear + end_card(session.output, record, run.path(), end.wall));
  } else if (!is_usage_error(end)) {  // the worker has printed those in full
    print_message(session.messages,
                  failure_table(session.messages, {.verdict = *end.verdict,
                                                   .exit_code = end.exit_code,
                                                   .run_path = run.path(),
                                                   .log_path = log_of(run, end.verdict->rank)}));
  }
  return end.exit_code;
}

int show_end_of_reading(const Session& session, const LaunchEnd& end) {
  if (end.verdict && !is_usage_error(end) && end.verdict->cause == "killed") {
    print_message(session.messages, failure_table(session.messages, {.verdict = *end.verdict,
                                                                     .exit_code = end.exit_code,
                                                                     .run_path = {},
                                                                     .log_path = {}}));
  }
  return end.exit_code;
}

}  // namespace lockstep::launcher
