#pragma once
// What a launch came to: the root cause and the exit code, from what the ranks wrote, what their
// supervisor saw and what mpirun or srun said. Pure, any thread.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "launcher/child_process.hpp"
#include "launcher/launch_plan.hpp"
#include "launcher/verdict.hpp"

namespace lockstep::launcher {

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
  std::int64_t step = -1;  ///< finished steps at the end, as far as the ranks showed them
  std::chrono::nanoseconds wall{0};
};

struct LaunchFacts {
  ChildEnd end;
  LaunchKind kind = LaunchKind::kLocal;
  int stop_requests = 0;
  int stop_signal = 0;
  bool by_wall_limit = false;      ///< the newest stop request came from it
  std::optional<RankDeath> death;  ///< the first rank that died, by the board or by the launcher
  std::string lost_host;           ///< by the launcher's words
  std::optional<Verdict> hang;     ///< why the supervisor ended the launch by itself
  std::optional<Verdict> verdict;  ///< what the ranks left in events.jsonl
  std::optional<int> agreed_code;  ///< of the end event there
};

LaunchEnd judge(const LaunchFacts& facts);

/// A host that has gone takes its ranks with it: whatever else was seen follows from that.
Verdict lost_node(const std::string& host, const std::string& why);

}  // namespace lockstep::launcher
