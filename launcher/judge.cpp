#include "launcher/judge.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "base/error.hpp"

namespace lockstep::launcher {
namespace {

using base::ExitCode;

bool is_known_code(int code) {
  static constexpr std::array kCodes{
      ExitCode::kDone,        ExitCode::kFailed,   ExitCode::kUsage,      ExitCode::kData,
      ExitCode::kEnvironment, ExitCode::kDiverged, ExitCode::kCheckpoint, ExitCode::kGate,
      ExitCode::kRestarts,    ExitCode::kStopped,  ExitCode::kWallLimit,  ExitCode::kInterrupted,
      ExitCode::kTerminated};
  return std::ranges::any_of(kCodes,
                             [&](ExitCode known) { return static_cast<int>(known) == code; });
}

std::string advice_for_signal(int number) {
  switch (number) {
    case SIGKILL:
      return "look in the kernel's log for 'Out of memory' (dmesg); if it is there, use a smaller "
             "train.micro_batch or fewer ranks, then resume";
    case SIGBUS: return "see whether /dev/shm or the disk is full (df -h), then resume";
    case SIGSEGV:
    case SIGILL:
    case SIGFPE:
    case SIGABRT: return "read the rank's log file; if it names no cause, report this bug";
    default: return "find out who sent the signal, then resume";
  }
}

Verdict killed(std::string who, int rank, std::string host, int number) {
  Verdict verdict;
  verdict.cause = "killed";
  verdict.message = fmt::format("{} killed by {}", who, name_of_signal(number));
  verdict.advice = advice_for_signal(number);
  verdict.rank = rank;
  verdict.host = std::move(host);
  verdict.exit_code = static_cast<int>(ExitCode::kFailed);
  return verdict;
}

/// A rank that died of a signal is the root: what the others saw follows from it.
Verdict with_death(const LaunchFacts& facts) {
  const auto& death = *facts.death;
  auto verdict = killed(fmt::format("rank {}", death.rank), death.rank, death.host, death.signal);
  verdict.step = death.step;
  verdict.phase = death.phase;
  if (facts.verdict) {
    if (verdict.phase.empty()) {
      verdict.step = facts.verdict->step;
      verdict.phase = facts.verdict->phase;
    }
    verdict.exit_code = facts.verdict->exit_code;
  }
  return verdict;
}

/// Why the launch failed, by what its processes left behind.
Verdict verdict_by_processes(const LaunchFacts& facts) {
  const bool local = facts.kind == LaunchKind::kLocal;
  const std::string launcher = local ? "rank 0" : name_of(facts.kind);
  if (facts.end.signalled) return killed(launcher, local ? 0 : -1, {}, facts.end.value);
  // The ranks' own codes for a stop at once are codes of a signal only where nobody asked for one.
  const bool own_code = is_known_code(facts.end.value) && facts.stop_requests > 0;
  if (!facts.death && !local && facts.end.value > 128 && facts.end.value < 128 + NSIG &&
      !own_code) {
    // Open MPI 4.1 now and then ends without its notice; its own code still tells the signal. srun
    // ends with 143 when it could not start a task and so ended the others.
    return killed("a rank", -1, {}, facts.end.value - 128);
  }
  Verdict verdict;
  const int code = facts.death ? facts.death->exit_code : facts.end.value;
  verdict.rank = facts.death ? facts.death->rank : local ? 0 : -1;
  if (facts.death) {
    verdict.host = facts.death->host;
    verdict.phase = facts.death->phase;
    verdict.step = facts.death->step;
  }
  verdict.exit_code = is_known_code(code) ? code : static_cast<int>(ExitCode::kFailed);
  verdict.cause = "exit";
  const auto who = verdict.rank < 0 ? launcher : fmt::format("rank {}", verdict.rank);
  verdict.message = fmt::format("{} ended with code {} and left no reason", who, code);
  if (is_known_code(code)) {
    verdict.message += fmt::format(" ({})", describe(static_cast<ExitCode>(code)));
  }
  verdict.advice = "read the messages above and the ranks' log files";
  return verdict;
}

/// The death that comes from the stop itself: a rank without its signal handlers yet.
bool ended_by_the_stop(const LaunchFacts& facts) {
  if (facts.stop_requests == 0 || facts.agreed_code) return false;
  // Then ranks end at once, and others may still note that they have lost them.
  const bool peers_words =
      facts.verdict && facts.verdict->exit_code == static_cast<int>(ExitCode::kFailed);
  if (facts.stop_requests > 1 && (!facts.verdict || peers_words)) return true;
  if (facts.verdict) return false;
  if (facts.end.signalled) return facts.end.value == SIGUSR1;
  return facts.end.value == 128 + SIGUSR1 || (facts.death && facts.death->signal == SIGUSR1);
}

}  // namespace

Verdict lost_node(const std::string& host, const std::string& why) {
  Verdict verdict;
  verdict.cause = "node_lost";
  verdict.message = fmt::format("host {} was lost ({})", host, why);
  verdict.advice = "see whether the host is up, then resume with the hosts that are";
  verdict.host = verdict.lost_host = host;
  verdict.exit_code = static_cast<int>(ExitCode::kFailed);
  return verdict;
}

LaunchEnd judge(const LaunchFacts& facts) {
  LaunchEnd end;
  end.stop_signal = facts.stop_signal;
  // Supervised ranks that were stopped end with 0, too: the code is in their events.
  if (!facts.end.signalled && facts.end.value == 0 && facts.agreed_code.value_or(0) == 0) {
    return end;
  }
  if (ended_by_the_stop(facts)) {
    end.exit_code = static_cast<int>(facts.by_wall_limit           ? ExitCode::kWallLimit
                                     : facts.stop_signal == SIGINT ? ExitCode::kInterrupted
                                                                   : ExitCode::kTerminated);
    return end;
  }
  const int stopped = static_cast<int>(ExitCode::kStopped);
  if (!facts.verdict &&
      (facts.agreed_code == stopped || (!facts.end.signalled && facts.end.value == stopped))) {
    end.exit_code = stopped;
    return end;
  }
  if (!facts.lost_host.empty()) {
    end.verdict =
        lost_node(facts.lost_host, fmt::format("{} no longer hears from it", name_of(facts.kind)));
    end.source = facts.verdict ? VerdictSource::kBoth : VerdictSource::kProcesses;
  } else if (facts.hang) {
    end.verdict = facts.hang;
    end.source = facts.verdict ? VerdictSource::kBoth : VerdictSource::kProcesses;
  } else if (facts.death && facts.death->signal > 0 &&
             !(facts.verdict && facts.death->signal == SIGABRT)) {
    end.verdict = with_death(facts);
    end.source = facts.verdict ? VerdictSource::kBoth : VerdictSource::kProcesses;
  } else if (facts.verdict) {
    end.verdict = facts.verdict;
  } else {
    end.verdict = verdict_by_processes(facts);
    end.source = VerdictSource::kProcesses;
  }
  end.exit_code = facts.agreed_code.value_or(end.verdict->exit_code);
  // A launch that failed never counts as done, whatever it left behind.
  if (end.exit_code == 0 || !is_known_code(end.exit_code)) {
    end.exit_code = static_cast<int>(ExitCode::kFailed);
  }
  return end;
}

}  // namespace lockstep::launcher
