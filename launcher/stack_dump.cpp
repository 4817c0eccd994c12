#include "launcher/stack_dump.hpp"

#include <execinfo.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>

namespace lockstep::launcher {
namespace {

constexpr int kFrames = 64;

std::array<char, PATH_MAX> path_of_stacks{};

/// Async-signal-safe: backtrace has loaded its library before, and the rest are system calls.
void on_quit(int) {
  const int saved = errno;
  const int file = ::open(path_of_stacks.data(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file >= 0) {
    std::array<void*, kFrames> frames{};
    const int count = ::backtrace(frames.data(), kFrames);
    ::backtrace_symbols_fd(frames.data(), count, file);
    ::close(file);
  }
  errno = saved;
}

}  // namespace

void write_stacks_to(const std::string& path) {
  path_of_stacks = {};
  std::copy_n(path.begin(), std::min(path.size(), path_of_stacks.size() - 1),
              path_of_stacks.begin());
  std::array<void*, 1> frame{};
  ::backtrace(frame.data(), 1);  // loads what it needs, which a handler must not do
  struct sigaction action {};
  action.sa_handler = on_quit;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGQUIT, &action, nullptr);
}

}  // namespace lockstep::launcher
