#include "launcher/commands/run_workers.hpp"

#include "base/clock.hpp"
#include "base/error.hpp"
#include "launcher/run_card.hpp"
#include "launcher/settle_run.hpp"
#include "launcher/supervise.hpp"

namespace lockstep::launcher {
namespace {

/// The log of the rank to blame, when that rank wrote one.
std::string log_of(base::FileSystem& files, const checkpoints::RunDirectory& run, int rank) {
  if (rank < 0) return {};
  const auto path = run.log_path(rank);
  return files.file_size(path) ? path : std::string();
}

/// Whether a worker has printed its error in full: always for a usage error, and for any reason
/// of its own when it writes no run.
bool told_by_worker(const LaunchEnd& end, RunUse use) {
  if (end.exit_code == static_cast<int>(base::ExitCode::kUsage)) return true;
  return use == RunUse::kRead && end.verdict->cause != "killed";
}

}  // namespace

int run_workers(const Session& session, const LaunchPlan& plan,
                const checkpoints::RunDirectory& run, RunUse use) {
  auto& files = base::FileSystem::posix();
  SuperviseOptions options;
  options.environment = session.environment;
  options.events_path = run.events_path();
  options.print = [&](std::string_view text) { print_message(session.messages, text); };
  const auto end = supervise(plan, options);

  checkpoints::RunRecord record;
  if (use == RunUse::kWritten) record = settle_run(files, run, end, base::Clock::system());
  if (end.verdict && !told_by_worker(end, use)) {
    print_message(
        session.messages,
        failure_table(session.messages, {.verdict = *end.verdict,
                                         .exit_code = end.exit_code,
                                         .run_path = use == RunUse::kWritten ? run.path() : "",
                                         .log_path = log_of(files, run, end.verdict->rank)}));
  } else if (use == RunUse::kWritten && !end.verdict) {
    const std::string clear = session.output.terminal ? "\r\x1b[K" : "";
    print(clear + end_card(session.output, record, run.path(), end.wall));
  }
  return end.exit_code;
}

}  // namespace lockstep::launcher
