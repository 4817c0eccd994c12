#pragma once
// One call of `lockstep` under a drill: it runs in a folder of its own, what it says goes to a
// file, and where its ranks are can be seen from outside. Unlike ChildProcess nothing stands
// between that could tidy up behind it: a drill wants to see what is left. The process must have
// no threads, as it forks. One thread.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/status_board.hpp"

namespace lockstep::launcher {

struct DrilledCommandOptions {
  std::vector<std::string> argv;                   ///< argv[0] is a path
  std::map<std::string, std::string> environment;  ///< all of it
  std::string directory;
  std::string log;  ///< gets standard output and error, after what is there
};

class DrilledCommand {
 public:
  /// Throws EnvironmentError when it cannot be started.
  explicit DrilledCommand(const DrilledCommandOptions& options);
  /// Kills it when it runs. It is also killed when this process dies.
  ~DrilledCommand();
  DrilledCommand(const DrilledCommand&) = delete;
  DrilledCommand& operator=(const DrilledCommand&) = delete;

  /// Its exit code, or 128 + the signal that ended it, when it has ended. Never blocks.
  std::optional<int> ended();
  /// Only while it runs.
  void signal(int number);
  /// Whether one of its ranks is in `phase` with `step` finished steps or more.
  bool is_at(base::Phase phase, std::int64_t step);

 private:
  void find_board();

  int pid_ = -1;
  std::optional<int> code_;
  std::unique_ptr<StatusBoard> board_;
  std::string board_address_;
};

}  // namespace lockstep::launcher
