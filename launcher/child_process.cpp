#include "launcher/child_process.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/error.hpp"
#include "base/process_status.hpp"
#include "base/text.hpp"
#include "launcher/process_guard.hpp"

namespace lockstep::launcher {
namespace {

using detail::GuardMessage;

[[noreturn]] void throw_cannot_start(const std::string& what, int reason) {
  throw base::EnvironmentError(
      fmt::format("{} cannot be started ({}); check that it exists and "
                  "may be run, then 'lockstep doctor'",
                  base::quote(what), std::strerror(reason)));
}

void close_if_open(int& descriptor) {
  if (descriptor >= 0) close(descriptor);
  descriptor = -1;
}

}  // namespace

ChildProcess::ChildProcess(const ChildOptions& options) {
  LOCKSTEP_EXPECT(!options.argv.empty(), "a command without words");
  std::array<int, 2> sockets{};
  std::array<int, 2> pipe_ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    throw_cannot_start(options.argv.front(), errno);
  }
  socket_ = sockets[0];
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) {
    const int reason = errno;
    close_if_open(socket_);
    close(sockets[1]);
    throw_cannot_start(options.argv.front(), reason);
  }
  messages_ = pipe_ends[0];
  // Unwritten output must not be written twice.
  std::fflush(nullptr);
  guard_ = fork();
  if (guard_ == 0) {
    close(sockets[0]);
    close(pipe_ends[0]);
    detail::run_guard(options, sockets[1], pipe_ends[1]);
    _exit(0);
  }
  int reason = errno;
  close(sockets[1]);
  close(pipe_ends[1]);
  if (guard_ > 0) {
    GuardMessage message{GuardMessage::Kind::kRefused, ECHILD};
    while (recv(socket_, &message, sizeof message, 0) < 0 && errno == EINTR) {
    }
    reason = message.value;
    if (message.kind == GuardMessage::Kind::kStarted) {
      pid_ = message.value;
      fcntl(messages_, F_SETFL, O_NONBLOCK);
      return;
    }
    waitpid(guard_, nullptr, 0);
  }
  close_if_open(socket_);
  close_if_open(messages_);
  throw_cannot_start(options.argv.front(), reason);
}

ChildProcess::~ChildProcess() {
  // The guard takes the closed socket as its owner's end, and ends the rest.
  close_if_open(socket_);
  close_if_open(messages_);
  if (!end_) {
    while (waitpid(guard_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

std::optional<ChildEnd> ChildProcess::ended() {
  if (end_) return end_;
  GuardMessage message{};
  const auto size = recv(socket_, &message, sizeof message, MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  if (size == sizeof message) {
    end_ = ChildEnd{message.kind == GuardMessage::Kind::kKilled, message.value};
  } else {
    // The guard itself was killed; the command died with it.
    end_ = ChildEnd{true, SIGKILL};
  }
  waitpid(guard_, nullptr, 0);
  return end_;
}

void ChildProcess::signal(int number) {
  const GuardMessage message{GuardMessage::Kind::kSignal, number};
  send(socket_, &message, sizeof message, MSG_NOSIGNAL);
}

void ChildProcess::stop() {
  const GuardMessage message{GuardMessage::Kind::kStop, 0};
  send(socket_, &message, sizeof message, MSG_NOSIGNAL);
}

void ChildProcess::kill() {
  const GuardMessage message{GuardMessage::Kind::kKill, 0};
  send(socket_, &message, sizeof message, MSG_NOSIGNAL);
}

std::vector<int> descendants_of(int pid) {
  std::vector<std::pair<int, int>> parents;  // pid, parent
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const auto name = entry.path().filename().string();
    int number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc() || end != name.data() + name.size()) continue;
    if (const auto status = base::process_status(number)) {
      parents.emplace_back(number, status->parent);
    }
  }
  std::vector<int> found{pid};
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const auto& [child, parent] : parents) {
      if (parent == found[i]) found.push_back(child);
    }
  }
  found.erase(found.begin());
  return found;
}

}  // namespace lockstep::launcher
