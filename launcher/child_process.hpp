#pragma once
// One command with everything it starts, so that nothing of it outlives its owner. A guard process
// stands between: it is the reaper of all descendants, and when the command ends, or the owner
// dies of whatever cause (SIGKILL too), it ends what is left. Used by the supervisor.
// For one thread; must be made before the process has threads or MPI, as it forks.

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lockstep::launcher {

/// How a command ended: by itself with a code, or by a signal.
struct ChildEnd {
  bool signalled = false;
  int value = 0;  ///< exit code or signal number
};

struct ChildOptions {
  std::vector<std::string> argv;                   ///< argv[0] is a path
  std::map<std::string, std::string> environment;  ///< all of it
  std::chrono::milliseconds grace{5000};           ///< from SIGTERM to SIGKILL
  std::string scratch_path{};  ///< folder that goes with the command, see ScratchFolder
};

class ChildProcess {
 public:
  /// Starts the command. Its standard input is empty, its standard output is this process's, its
  /// standard error is read through `messages`. Throws EnvironmentError when it cannot start.
  explicit ChildProcess(const ChildOptions& options);
  /// Ends the command and everything it started.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// The command's own process.
  int pid() const { return pid_; }
  /// Read end of the command's standard error; non-blocking; owned here.
  int messages() const { return messages_; }
  /// Becomes readable when `ended` has something new to say; owned here.
  int events() const { return socket_; }

  /// How the command ended, when it has and all its descendants are gone. Never blocks.
  std::optional<ChildEnd> ended();
  /// Sends a signal to the command alone.
  void signal(int number);
  /// Asks the guard to end everything: SIGTERM, after the grace SIGKILL. Returns at once.
  void stop();
  /// The same without a grace.
  void kill();

 private:
  int guard_ = -1;
  int pid_ = -1;
  int socket_ = -1;
  int messages_ = -1;
  std::optional<ChildEnd> end_;
};

/// Pids of all living descendants of `pid`, found in /proc; deepest last.
std::vector<int> descendants_of(int pid);

}  // namespace lockstep::launcher
