#include "launcher/commands/run_training.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/stop_signal.hpp"
#include "base/text.hpp"
#include "checkpoints/checkpoint_store.hpp"
#include "launcher/commands/launch_end.hpp"
#include "launcher/host_probe.hpp"
#include "launcher/kept_memory.hpp"
#include "launcher/restarts.hpp"
#include "launcher/run_card.hpp"
#include "launcher/settle_run.hpp"
#include "launcher/supervise.hpp"

namespace lockstep::launcher {
namespace {

using Next = RestartBook::Next;

/// For a host to run a program, then for one that did not: an ssh to one that is gone may wait for
/// minutes, and one that is only busy must not be given up.
constexpr std::array kPatienceWithHosts{std::chrono::seconds(10), std::chrono::seconds(30)};

void erase_hosts(LaunchRequest& request, const std::vector<std::string>& names) {
  std::erase_if(request.hosts, [&](const HostSlots& host) {
    return std::ranges::find(names, host.host) != names.end();
  });
}

/// Without the hosts that were lost, when as many ranks as must be still have a place.
bool leave_out(const std::vector<std::string>& lost, LaunchRequest& request,
               std::int64_t min_ranks) {
  if (lost.empty()) return true;
  erase_hosts(request, lost);
  int slots = 0;
  for (const auto& host : request.hosts) slots += host.slots;
  const auto least = min_ranks > 0 ? min_ranks : request.ranks;
  request.ranks = std::min(request.ranks, slots);
  return request.ranks >= std::max<std::int64_t>(least, 1);
}

/// Of one node for all ranks here, or of as many as launch.ranks_per_node pretends.
KeptMemory kept_memory(const TrainingLaunch& launch) {
  if (launch.trial || !keeps_memory(launch.config)) return KeptMemory::here(0);
  if (has_other_hosts(launch.request)) return KeptMemory::elsewhere();
  const auto ranks_per_node = launch.config.launch.ranks_per_node;
  if (ranks_per_node == 0) return KeptMemory::here(1);
  return KeptMemory::here(
      static_cast<int>((launch.request.ranks + ranks_per_node - 1) / ranks_per_node));
}

bool ended_in_order(const LaunchEnd& end) {
  return end.exit_code == static_cast<int>(base::ExitCode::kDone) ||
         end.exit_code == static_cast<int>(base::ExitCode::kStopped);
}

class Training {
 public:
  Training(const Session& session, const base::StopSignal& stop, TrainingLaunch launch)
      : session_(session),
        stop_(stop),
        launch_(std::move(launch)),
        minder_(launch_.run),
        book_(launch_.trial ? 0 : launch_.config.launch.restarts),
        memory_(kept_memory(launch_)),
        supervisor_({.environment = session.environment,
                     .events_path = launch_.run.events_path(),
                     .print = [&](std::string_view text) { say(text); },
                     .wall_limit = wall_limit(launch_.config.launch.wall_limit),
                     .hang = hang_options(launch_.config),
                     .diagnostics_path = launch_.run.diagnostics_path(),
                     .stop = &stop_,
                     .health_path = launch_.run.health_folder()}) {}

  int run() {
    const auto begin = base::Clock::system().now();
    for (;;) {
      const auto plan = plan_of(launch_.request, book_.restarts());
      kind_ = plan.kind;
      if (book_.restarts() == 0) {
        say(fmt::format("run {} on {} {} ({})\n", launch_.run.path(), plan.ranks,
                        plan.ranks == 1 ? "rank" : "ranks", name_of(plan.kind)));
      }
      auto end = supervisor_.run(plan);
      const auto next = decide(end);
      if (next != Next::kRestart) settle_memory(end);
      const auto record =
          settle_run(base::FileSystem::posix(), launch_.run, end, base::Clock::system());
      if (next != Next::kRestart) {
        end.wall = base::Clock::system().now() - begin;
        return show_end(session_, launch_.run, end, record);
      }
      const auto verdict = end.verdict.value();
      say(fmt::format("{}; restart {} of {} on {} {}\n", describe(verdict), book_.restarts(),
                      book_.budget(), launch_.request.ranks,
                      launch_.request.ranks == 1 ? "rank" : "ranks"));
      note_restart(base::FileSystem::posix(), launch_.run, verdict, launch_.request.ranks,
                   base::Clock::system());
      launch_.request.worker = {launch_.request.worker.front(), "resume", launch_.run.path()};
    }
  }

 private:
  LaunchPlan plan_of(const LaunchRequest& request, int attempt) const {
    auto plan = plan_launch(request);
    plan.environment[kAttemptVariable] = std::to_string(attempt);
    plan.environment[kKeptMemoryVariable] = memory_.addresses();
    return plan;
  }

  /// Nobody will come back for what the ranks kept.
  void settle_memory(const LaunchEnd& end) {
    if (launch_.request.ranks < 1) return;  // no host is left to ask
    try {
      // The wall limit was the run's.
      Supervisor last({.environment = session_.environment,
                       .events_path = launch_.run.events_path(),
                       .print = [&](std::string_view text) { say(text); },
                       .hang = hang_options(launch_.config),
                       .diagnostics_path = launch_.run.diagnostics_path(),
                       .stop = &stop_});
      if (!save_what_memory_holds(end, last)) forget_memory(end, last);
    } catch (const base::Error& error) {
      say(std::string("warning: what memory held is not settled: ") + error.what() + "\n");
    }
  }

  void forget_memory(const LaunchEnd& end, Supervisor& last) const {
    if (!memory_.is_elsewhere()) return;
    if (ended_in_order(end)) return;  // they removed it themselves
    auto request = launch_.request;
    request.worker = {request.worker.front(), "forget"};
    last.run(plan_of(request, book_.restarts() + 1));
  }

  /// Steps since the newest checkpoint would go with this process. Says whether the ranks ended in
  /// order.
  bool save_what_memory_holds(const LaunchEnd& end, Supervisor& last) {
    if (!end.verdict || memory_.addresses().empty()) return false;
    // Of other hosts' ranks the steps are not seen.
    const auto step = std::max(end.step, book_.furthest_step());
    if (step <= 0 && !memory_.is_elsewhere()) return false;
    if (end.verdict->exit_code == static_cast<int>(base::ExitCode::kUsage)) return false;
    auto request = launch_.request;
    request.worker = {request.worker.front(), "resume", launch_.run.path(), "--save-only"};
    const auto before = newest_checkpoint();
    const auto saving = last.run(plan_of(request, book_.restarts() + 1));
    const bool in_order = ended_in_order(saving);
    if (!in_order) {
      say("warning: what memory held could not be saved" +
          (saving.verdict ? ": " + describe(*saving.verdict) : std::string(" (it was stopped)")) +
          "\n");
    } else if (const auto saved = newest_checkpoint(); saved > before) {
      say(fmt::format("the state of step {}, which memory held, is saved\n", saved));
    }
    return in_order;
  }

  /// Its step; 0 when there is none.
  std::int64_t newest_checkpoint() const {
    std::int64_t newest = 0;
    checkpoints::CheckpointStore store(base::FileSystem::posix(), launch_.run.checkpoints_path());
    for (const auto& one : store.list()) newest = std::max(newest, one.step);
    return newest;
  }

  /// Hosts without which a restart must do, told in `verdict`: what mpirun says of a rank's end
  /// does not tell whether its host is there.
  std::vector<std::string> lost_hosts(LaunchEnd& end) const {
    auto& verdict = end.verdict.value();
    std::vector<std::string> lost;
    if (!verdict.lost_host.empty()) lost.push_back(verdict.lost_host);
    auto asked = launch_.request;
    erase_hosts(asked, lost);
    if (asked.hosts.empty() || kind_ != LaunchKind::kMpirun) return lost;
    std::vector<std::string> silent;
    try {
      for (const auto patience : kPatienceWithHosts) {
        silent = silent_hosts(asked, "/bin/true", session_.environment, patience,
                              [&] { return supervisor_.pending_requests() > 0; });
        if (silent.empty()) return lost;
        std::erase_if(asked.hosts, [&](const HostSlots& host) {
          return std::ranges::find(silent, host.host) == silent.end();
        });
      }
    } catch (const base::Error&) {
      return lost;  // this machine cannot ask; the next launch will tell
    }
    // Where none answers, the fault is this machine's or the launcher's.
    if (asked.hosts.size() == launch_.request.hosts.size()) return lost;
    if (verdict.lost_host.empty()) {
      verdict = lost_node(base::joined(silent), "it does not answer");
      if (end.source == VerdictSource::kRanks) end.source = VerdictSource::kBoth;
    }
    lost.insert(lost.end(), silent.begin(), silent.end());
    return lost;
  }

  Next decide(LaunchEnd& end) {
    auto next = book_.decide(end);
    if (next == Next::kRestart &&
        !leave_out(lost_hosts(end), launch_.request, launch_.config.launch.min_ranks)) {
      end.verdict->advice =
          "lower launch.min_ranks to go on with fewer ranks, or bring the host "
          "back, then resume";
      return Next::kEnd;
    }
    const bool stopped = supervisor_.pending_requests() > 0 || end.stop_signal != 0;
    if (stopped && next == Next::kRestart) return Next::kEnd;
    // What is still done needs the hosts that are there.
    if (end.verdict && memory_.is_elsewhere() && next != Next::kEnd && next != Next::kRestart) {
      leave_out(lost_hosts(end), launch_.request, 1);
    }
    if (next == Next::kSpent || next == Next::kNoProgress) {
      end.exit_code = static_cast<int>(base::ExitCode::kRestarts);
      end.verdict->exit_code = end.exit_code;
      const auto why =
          next == Next::kSpent
              ? fmt::format("after {} restarts, all that launch.restarts allows", book_.restarts())
              : fmt::format("restarts do not get past step {}",
                            std::max<std::int64_t>(book_.furthest_step(), 0));
      end.verdict->message += " (" + why + ")";
    }
    return next;
  }

  static HangWatch::Options hang_options(const configs::RunConfig& config) {
    return {.fixed = seconds(config.launch.hang_seconds),
            .longest = seconds(config.launch.deadline_seconds)};
  }

  static std::optional<std::chrono::steady_clock::time_point> wall_limit(double count) {
    if (count <= 0) return std::nullopt;
    return std::chrono::steady_clock::now() +
           std::chrono::duration_cast<std::chrono::nanoseconds>(seconds(count));
  }

  static std::chrono::duration<double> seconds(double count) {
    return std::chrono::duration<double>(count);
  }

  void say(std::string_view text) const { print_message(session_.messages, text); }

  const Session& session_;
  const base::StopSignal& stop_;
  TrainingLaunch launch_;
  checkpoints::RunMinder minder_;
  LaunchKind kind_ = LaunchKind::kLocal;  // of the newest launch
  RestartBook book_;
  KeptMemory memory_;
  Supervisor supervisor_;
};

}  // namespace

int run_training(const Session& session, TrainingLaunch launch) {
  // Until the process is gone: what comes after the last word must not change how it ends.
  static const auto& stop = *new base::StopSignal;
  return Training(session, stop, std::move(launch)).run();
}

}  // namespace lockstep::launcher
