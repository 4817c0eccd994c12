#pragma once
// Runs a launch plan to its end: passes the ranks' messages on, turns the user's signals into an
// orderly stop, watches the ranks' processes, sees to it that none is left, and says how it ended.
// Main thread only; the process must have no threads yet.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/stop_signal.hpp"
#include "launcher/child_process.hpp"
#include "launcher/hang_watch.hpp"
#include "launcher/judge.hpp"
#include "launcher/launch_plan.hpp"

namespace lockstep::launcher {

struct SuperviseOptions {
  std::map<std::string, std::string> environment;  ///< of this process
  std::string events_path;                         ///< the run's events.jsonl, or empty
  /// Gets what the ranks and the launcher say on standard error, whole lines.
  std::function<void(std::string_view)> print;
  std::chrono::milliseconds grace{5000};  ///< from SIGTERM to SIGKILL when processes must go
  /// When the run must have ended; the ranks are asked to stop early enough to save. None = never.
  std::optional<std::chrono::steady_clock::time_point> wall_limit{};
  HangWatch::Options hang{};       ///< `longest` 0 = ranks are never taken to hang
  std::string diagnostics_path{};  ///< folder for what is found out about a hang, or empty
  /// The user's requests to stop, of an owner that lives longer; null: the supervisor's own.
  const base::StopSignal* stop = nullptr;
  std::string health_path{};  ///< folder in which ranks show that they have started, or empty
};

class Supervisor {
 public:
  explicit Supervisor(SuperviseOptions options);
  /// Waits until nothing is left of any launch.
  ~Supervisor();

  /// Runs the plan once. The first SIGUSR1, SIGUSR2, SIGTERM or SIGINT becomes SIGUSR1 to the
  /// ranks, which finish the step, save and exit 75; the second one ends everything. When a rank
  /// of this host dies, the others are ended at once and this returns when all of them have gone;
  /// mpirun or srun may then still tidy up behind them.
  LaunchEnd run(const LaunchPlan& plan);
  /// Requests to stop that came after the last launch had ended.
  int pending_requests() const { return options_.stop->requests() - requests_taken_; }

 private:
  SuperviseOptions options_;
  std::optional<base::StopSignal> own_stop_;
  int requests_taken_;  // to stop, by launches before or by nobody here
  std::vector<std::unique_ptr<ChildProcess>> leftovers_;  // launchers whose ranks have gone
};

}  // namespace lockstep::launcher
