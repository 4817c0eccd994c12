#include "launcher/process_guard.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "launcher/exec_words.hpp"
#include "launcher/scratch_folder.hpp"

namespace lockstep::launcher::detail {
namespace {

constexpr std::array kIgnored{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGPIPE, SIGQUIT};
constexpr std::chrono::milliseconds kKillAgain{50};

std::chrono::milliseconds monotonic_now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return std::chrono::milliseconds(time.tv_sec * 1000 + time.tv_nsec / 1'000'000);
}

/// In the process that becomes the command. Returns errno, only when it could not.
int become_command(const ChildOptions& options, int messages, int guard) {
  setpgid(0, 0);
  // The guard ends everything it can; this is for the case that the guard itself is killed.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != guard) return ESRCH;
  for (const int number : kIgnored) std::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int empty = open("/dev/null", O_RDONLY);
  if (empty < 0 || dup2(empty, STDIN_FILENO) < 0 || dup2(messages, STDERR_FILENO) < 0) return errno;

  ExecWords words(options.argv);
  ExecWords variables(options.environment);
  execve(options.argv.front().c_str(), words.data(), variables.data());
  return errno;
}

class Guard {
 public:
  Guard(const ChildOptions& options, int socket, int messages)
      : options_(options), socket_(socket), messages_(messages) {}

  void run() {
    detach();
    if (!start()) return;
    while (true) {
      reap();
      if (command_ended_ && nothing_left_) break;
      if (command_ended_ && !stopping_) stop();
      end_the_rest();
      wait();
    }
    const bool killed = WIFSIGNALED(status_);
    tell(killed ? GuardMessage::Kind::kKilled : GuardMessage::Kind::kExited,
         killed ? WTERMSIG(status_) : WEXITSTATUS(status_));
  }

 private:
  /// Out of the terminal's process group, reaper of all orphans below, SIGCHLD as a descriptor.
  void detach() {
    prctl(PR_SET_NAME, "lockstep-guard");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    setpgid(0, 0);
    for (const int number : kIgnored) std::signal(number, SIG_IGN);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_SETMASK, &child, nullptr);
    children_ = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
  }

  bool start() {
    std::array<int, 2> refusal{};
    if (pipe2(refusal.data(), O_CLOEXEC) != 0) {
      tell(GuardMessage::Kind::kRefused, errno);
      return false;
    }
    const pid_t guard = getpid();
    command_ = fork();
    if (command_ == 0) {
      const int reason = become_command(options_, messages_, guard);
      [[maybe_unused]] const auto told = write(refusal[1], &reason, sizeof reason);
      _exit(127);
    }
    const int fork_reason = errno;
    close(refusal[1]);
    close(messages_);
    int reason = 0;
    if (command_ < 0) {
      reason = fork_reason;
    } else if (read(refusal[0], &reason, sizeof reason) <= 0) {
      reason = 0;
    }
    close(refusal[0]);
    if (reason != 0) {
      tell(GuardMessage::Kind::kRefused, reason);
      return false;
    }
    tell(GuardMessage::Kind::kStarted, command_);
    return true;
  }

  void tell(GuardMessage::Kind kind, int value) {
    const GuardMessage message{kind, value};
    send(socket_, &message, sizeof message, MSG_NOSIGNAL);
  }

  void reap() {
    signalfd_siginfo drained{};
    while (read(children_, &drained, sizeof drained) > 0) {
    }
    for (;;) {
      int status = 0;
      const pid_t pid = waitpid(-1, &status, WNOHANG);
      if (pid < 0) nothing_left_ = errno == ECHILD;
      if (pid <= 0) return;
      if (pid == command_) {
        command_ended_ = true;
        status_ = status;
      }
    }
  }

  /// SIGTERM lets mpirun take its ranks down, on other hosts too.
  void stop() {
    if (stopping_) return;
    stopping_ = true;
    kill_at_ = monotonic_now() + options_.grace;
    if (!command_ended_) {
      kill(command_, SIGTERM);
      return;
    }
    for (const int pid : descendants_of(getpid())) kill(pid, SIGTERM);
  }

  void end_the_rest() {
    if (!stopping_ || monotonic_now() < kill_at_) return;
    for (const int pid : descendants_of(getpid())) kill(pid, SIGKILL);
  }

  void wait() {
    std::array<pollfd, 2> polled{{{children_, POLLIN, 0}, {owner_gone_ ? -1 : socket_, POLLIN, 0}}};
    int timeout_ms = -1;
    if (stopping_) {
      timeout_ms = static_cast<int>(std::max(kill_at_ - monotonic_now(), kKillAgain).count());
    }
    if (poll(polled.data(), polled.size(), timeout_ms) <= 0 || polled[1].revents == 0) return;
    GuardMessage message{};
    const auto size = recv(socket_, &message, sizeof message, MSG_DONTWAIT);
    if (size != sizeof message) {
      owner_gone_ = true;
      stop();
    } else if (message.kind == GuardMessage::Kind::kSignal && !command_ended_) {
      kill(command_, message.value);
    } else if (message.kind == GuardMessage::Kind::kStop) {
      stop();
    } else if (message.kind == GuardMessage::Kind::kKill) {
      stopping_ = true;
      kill_at_ = monotonic_now();
    }
  }

  const ChildOptions& options_;
  int socket_;
  int messages_;
  int children_ = -1;
  pid_t command_ = -1;
  int status_ = 0;
  bool command_ended_ = false;
  bool nothing_left_ = false;
  bool stopping_ = false;
  bool owner_gone_ = false;
  std::chrono::milliseconds kill_at_{0};
};

}  // namespace

void run_guard(const ChildOptions& options, int socket, int messages) {
  const auto low = static_cast<unsigned>(std::min(socket, messages));
  const auto high = static_cast<unsigned>(std::max(socket, messages));
  if (low > 3) close_range(3, low - 1, 0);
  if (high > low + 1) close_range(low + 1, high - 1, 0);
  close_range(high + 1, ~0U, 0);
  const ScratchFolder held(options.scratch_path);
  Guard(options, socket, messages).run();
}

}  // namespace lockstep::launcher::detail
