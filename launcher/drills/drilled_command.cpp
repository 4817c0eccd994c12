#include "launcher/drills/drilled_command.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/error.hpp"
#include "base/text.hpp"
#include "launcher/child_process.hpp"
#include "launcher/exec_words.hpp"

namespace lockstep::launcher {
namespace {

constexpr int kCannotExecute = 127;

/// In the child: never returns.
[[noreturn]] void become(const DrilledCommandOptions& options, ExecWords& words,
                         ExecWords& variables, int parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kCannotExecute);
  // Ctrl-C is for the drill, which decides what becomes of its commands.
  ::setpgid(0, 0);
  const int nothing = ::open("/dev/null", O_RDONLY);
  const int log = ::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
  if (nothing < 0 || log < 0 || ::chdir(options.directory.c_str()) != 0) ::_exit(kCannotExecute);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execve(options.argv.front().c_str(), words.data(), variables.data());
  const char* reason = std::strerror(errno);
  (void)!::write(STDERR_FILENO, reason, std::strlen(reason));
  ::_exit(kCannotExecute);
}

/// A process's variable, empty when it has none or is not ours to ask.
std::string variable_of(int pid, const std::string& name) {
  std::ifstream file(fmt::format("/proc/{}/environ", pid), std::ios::binary);
  for (std::string word; std::getline(file, word, '\0');) {
    if (word.starts_with(name + "=")) return word.substr(name.size() + 1);
  }
  return {};
}

}  // namespace

DrilledCommand::DrilledCommand(const DrilledCommandOptions& options) {
  LOCKSTEP_EXPECT(!options.argv.empty(), "a command without words");
  ExecWords words(options.argv);
  ExecWords variables(options.environment);
  std::fflush(nullptr);
  const int parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) become(options, words, variables, parent);
  if (pid_ < 0) {
    throw base::EnvironmentError(
        fmt::format("{} cannot be started ({}); end other processes, or "
                    "raise the limit on them (ulimit -u)",
                    base::quote(options.argv.front()), std::strerror(errno)));
  }
}

DrilledCommand::~DrilledCommand() {
  if (code_) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

std::optional<int> DrilledCommand::ended() {
  int status = 0;
  if (!code_ && ::waitpid(pid_, &status, WNOHANG) == pid_) {
    code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  return code_;
}

void DrilledCommand::signal(int number) {
  if (!code_) ::kill(pid_, number);
}

bool DrilledCommand::is_at(base::Phase phase, std::int64_t step) {
  find_board();
  if (!board_) return false;
  for (int rank = 0; rank < board_->ranks(); ++rank) {
    const auto& row = board_->row(rank);
    if (row.pid() != 0 && row.position.phase() == phase && row.position.step() >= step) {
      return true;
    }
  }
  return false;
}

void DrilledCommand::find_board() {
  // A restart has a board of its own, so what was found may be of a launch that is over.
  for (const int pid : descendants_of(pid_)) {
    const auto address = variable_of(pid, kBoardVariable);
    if (address.empty()) continue;
    if (address == board_address_ && board_) return;
    board_ = StatusBoard::find({{kBoardVariable, address}});
    board_address_ = address;
    return;
  }
}

}  // namespace lockstep::launcher
