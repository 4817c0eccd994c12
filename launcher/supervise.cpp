#include "launcher/supervise.hpp"

#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/stop_signal.hpp"

namespace lockstep::launcher {
namespace {

using base::ExitCode;

constexpr int kPollMilliseconds = 100;

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
  if (facts.verdict) {
    verdict.step = facts.verdict->step;
    verdict.phase = facts.verdict->phase;
    verdict.exit_code = facts.verdict->exit_code;
  }
  return verdict;
}

/// Why the launch failed, by what its processes left behind.
Verdict verdict_by_processes(const LaunchFacts& facts) {
  const bool local = facts.kind == LaunchKind::kLocal;
  const std::string launcher = local ? "rank 0" : name_of(facts.kind);
  if (facts.end.signalled) return killed(launcher, local ? 0 : -1, {}, facts.end.value);
  if (!facts.death && !local && facts.end.value > 128 && facts.end.value < 128 + NSIG &&
      !is_known_code(facts.end.value)) {
    // Open MPI 4.1 now and then ends without its notice; its own code still tells the signal.
    return killed("a rank", -1, {}, facts.end.value - 128);
  }
  Verdict verdict;
  const int code = facts.death ? facts.death->exit_code : facts.end.value;
  verdict.rank = facts.death ? facts.death->rank : local ? 0 : -1;
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
  if (facts.stop_requests == 0 || facts.agreed_code || facts.verdict) return false;
  if (facts.stop_requests > 1) return true;
  if (facts.end.signalled) return facts.end.value == SIGUSR1;
  return facts.end.value == 128 + SIGUSR1 || (facts.death && facts.death->signal == SIGUSR1);
}

/// Reads everything that is there now. Returns false at the end of the stream.
bool read_available(int descriptor, std::string& bytes) {
  std::array<char, 4096> buffer{};
  for (;;) {
    const auto size = read(descriptor, buffer.data(), buffer.size());
    if (size > 0) {
      bytes.append(buffer.data(), static_cast<std::size_t>(size));
    } else if (size == 0) {
      return false;
    } else if (errno != EINTR) {
      return errno == EAGAIN;
    }
  }
}

std::map<std::string, std::string> merged(std::map<std::string, std::string> base,
                                          const std::map<std::string, std::string>& additions) {
  for (const auto& [name, value] : additions) base[name] = value;
  return base;
}

}  // namespace

LaunchEnd judge(const LaunchFacts& facts) {
  LaunchEnd end;
  end.stop_signal = facts.stop_signal;
  if (!facts.end.signalled && facts.end.value == 0) return end;
  if (ended_by_the_stop(facts)) {
    end.exit_code = static_cast<int>(facts.stop_signal == SIGINT ? ExitCode::kInterrupted
                                                                 : ExitCode::kTerminated);
    return end;
  }
  const int stopped = static_cast<int>(ExitCode::kStopped);
  if (!facts.verdict &&
      (facts.agreed_code == stopped || (!facts.end.signalled && facts.end.value == stopped))) {
    end.exit_code = stopped;
    return end;
  }
  if (facts.death && facts.death->signal > 0 &&
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

LaunchEnd supervise(const LaunchPlan& plan, const SuperviseOptions& options) {
  const auto& clock = base::Clock::system();
  const auto started = clock.now();
  auto& files = base::FileSystem::posix();
  const auto events_begin =
      options.events_path.empty() ? 0 : files.file_size(options.events_path).value_or(0);

  const base::StopSignal stop;
  ChildProcess child({plan.argv, merged(options.environment, plan.environment), options.grace});
  MessageFilter filter;
  LaunchFacts facts;
  facts.kind = plan.kind;
  bool messages_open = true;
  const auto show = [&](const std::string& text) {
    if (!text.empty() && options.print) options.print(text);
  };

  for (bool running = true; running;) {
    std::array<pollfd, 2> polled{
        {{messages_open ? child.messages() : -1, POLLIN, 0}, {child.events(), POLLIN, 0}}};
    const int ready = poll(polled.data(), polled.size(), kPollMilliseconds);
    const auto end = child.ended();
    if (messages_open) {
      std::string bytes;
      messages_open = read_available(child.messages(), bytes);
      show(filter.take(bytes));
    }
    if (ready == 0 || end) show(filter.flush());
    if (end) {
      facts.end = *end;
      running = false;
    }
    for (const int requests = stop.requests(); facts.stop_requests < requests;) {
      if (++facts.stop_requests == 1) {
        child.signal(SIGUSR1);
        show("stopping: the ranks finish their step and save; once more ends them at once\n");
      } else {
        child.stop();
      }
    }
  }

  facts.stop_signal = stop.first_signal();
  facts.death = filter.death();
  if (!options.events_path.empty()) {
    const auto events = read_events(files, options.events_path, events_begin);
    facts.verdict = events.verdict;
    facts.agreed_code = events.exit_code;
  }
  auto end = judge(facts);
  end.wall = clock.now() - started;
  return end;
}

}  // namespace lockstep::launcher
