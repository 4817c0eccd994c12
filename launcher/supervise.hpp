#pragma once
// Runs a launch plan to its end: passes the ranks' messages on, turns the user's signals into an
// orderly stop, sees to it that no process is left, and says how it ended. Main thread only; the
// process must have no threads yet.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "launcher/child_process.hpp"
#include "launcher/launch_plan.hpp"
#include "launcher/verdict.hpp"

namespace lockstep::launcher {

struct SuperviseOptions {
  std::map<std::string, std::string> environment;  ///< of this process
  std::string events_path;                         ///< the run's events.jsonl, or empty
  /// Gets what the ranks and the launcher say on standard error, whole lines.
  std::function<void(std::string_view)> print;
  std::chrono::milliseconds grace{5000};  ///< from SIGTERM to SIGKILL when processes must go
};

enum class VerdictSource {
  kRanks,      ///< they left it in events.jsonl
  kProcesses,  ///< made from how the processes ended, as the ranks left none
  kBoth,       ///< the ranks left one, and how the processes ended names the cause behind it
};

/// How a launch ended.
struct LaunchEnd {
  int exit_code = 0;    ///< the one code that all ranks agreed on
  int stop_signal = 0;  ///< the signal that asked for a stop, 0 = none
  /// Root cause when it failed; made from the processes' end when no rank left one.
  std::optional<Verdict> verdict;
  VerdictSource source = VerdictSource::kRanks;
  std::chrono::nanoseconds wall{0};
};

/// The first SIGUSR1, SIGUSR2, SIGTERM or SIGINT becomes SIGUSR1 to the ranks, which finish the
/// step, save and exit 75; the second one ends everything.
LaunchEnd supervise(const LaunchPlan& plan, const SuperviseOptions& options);

/// What `supervise` decides by, apart from running anything.
struct LaunchFacts {
  ChildEnd end;
  LaunchKind kind = LaunchKind::kLocal;
  int stop_requests = 0;
  int stop_signal = 0;
  std::optional<RankDeath> death;  ///< what the launcher said about the first rank that died
  std::optional<Verdict> verdict;  ///< what the ranks left in events.jsonl
  std::optional<int> agreed_code;  ///< of the end event there
};

/// Pure.
LaunchEnd judge(const LaunchFacts& facts);

}  // namespace lockstep::launcher
