#include "checkpoints/source_version.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <vector>

extern char** environ;

namespace lockstep::checkpoints {
namespace {

constexpr std::size_t kLargestOutput = std::size_t{4} << 20;

/// Standard output of git, cut at kLargestOutput; nothing when it could not run or failed.
std::optional<std::string> git(const std::string& directory, std::vector<std::string> arguments) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  arguments.insert(arguments.begin(), {"git", "--no-optional-locks", "-C", directory});
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int failed = ::posix_spawnp(&pid, "git", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string output;
  if (failed == 0) {
    char buffer[65536];
    for (;;) {
      const auto got = ::read(ends[0], buffer, sizeof buffer);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      const auto room = kLargestOutput - output.size();
      output.append(buffer, std::min(static_cast<std::size_t>(got), room));
    }
  }
  ::close(ends[0]);
  if (failed != 0) return std::nullopt;
  int status = 0;
  pid_t ended = 0;
  do ended = ::waitpid(pid, &status, 0);
  while (ended < 0 && errno == EINTR);
  if (ended != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::nullopt;
  return output;
}

}  // namespace

SourceVersion source_version(const std::string& directory) {
  SourceVersion version;
  auto commit = git(directory, {"rev-parse", "HEAD"});
  if (!commit) return version;
  while (!commit->empty() && commit->back() == '\n') commit->pop_back();
  version.commit = *commit;
  version.patch = git(directory, {"diff", "--no-ext-diff", "--binary", "HEAD"}).value_or("");
  version.dirty = !version.patch.empty();
  return version;
}

}  // namespace lockstep::checkpoints
