#include "launcher/captured.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "base/clock.hpp"
#include "launcher/exec_words.hpp"

namespace lockstep::launcher {
namespace {

constexpr std::size_t kMostBytes = 1u << 20;

class Pipe {
 public:
  Pipe() {
    if (pipe2(ends_.data(), O_CLOEXEC) != 0) ends_ = {-1, -1};
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int read_end() const { return ends_[0]; }
  int write_end() const { return ends_[1]; }
  void close_end(std::size_t end) {
    if (ends_.at(end) >= 0) close(ends_.at(end));
    ends_.at(end) = -1;
  }

 private:
  std::array<int, 2> ends_{};
};

pid_t spawn(const std::vector<std::string>& argv,
            const std::map<std::string, std::string>& environment, const Pipe& output,
            const Pipe& errors) {
  ExecWords words(argv);
  ExecWords variables(environment);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output.write_end(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.write_end(), STDERR_FILENO);
  pid_t pid = -1;
  const int failed =
      posix_spawn(&pid, argv.front().c_str(), &actions, nullptr, words.data(), variables.data());
  posix_spawn_file_actions_destroy(&actions);
  return failed == 0 ? pid : -1;
}

/// Returns false at the end of the stream.
bool read_some(int descriptor, std::string& text) {
  std::array<char, 4096> buffer{};
  const auto size = read(descriptor, buffer.data(), buffer.size());
  if (size <= 0) return size < 0 && errno == EINTR;
  const auto room = kMostBytes - std::min(kMostBytes, text.size());
  text.append(buffer.data(), std::min(room, static_cast<std::size_t>(size)));
  return true;
}

}  // namespace

std::optional<Captured> run_captured(const std::vector<std::string>& argv,
                                     const std::map<std::string, std::string>& environment,
                                     std::chrono::milliseconds timeout) {
  Pipe output;
  Pipe errors;
  const pid_t pid = spawn(argv, environment, output, errors);
  if (pid < 0) return std::nullopt;
  output.close_end(1);
  errors.close_end(1);

  const auto& clock = base::Clock::system();
  const auto deadline = clock.now() + timeout;
  Captured captured;
  std::array<pollfd, 2> polled{{{output.read_end(), POLLIN, 0}, {errors.read_end(), POLLIN, 0}}};
  while (polled[0].fd >= 0 || polled[1].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock.now());
    if (left.count() <= 0) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
      return std::nullopt;
    }
    if (poll(polled.data(), polled.size(), static_cast<int>(left.count())) <= 0) continue;
    if (polled[0].revents != 0 && !read_some(polled[0].fd, captured.output)) polled[0].fd = -1;
    if (polled[1].revents != 0 && !read_some(polled[1].fd, captured.errors)) polled[1].fd = -1;
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  captured.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return captured;
}

}  // namespace lockstep::launcher
