#pragma once
// What is known about the end of a launch: the verdict that ranks leave in a run's events.jsonl,
// and what mpirun or srun say about a rank that died without one. Pure but for reading the file.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_system.hpp"

namespace lockstep::launcher {

/// Root cause of a failed launch. Empty texts and negative numbers = not known.
struct Verdict {
  std::string cause;    ///< a short class: `data`, `killed`, `diverged`, ...
  std::string message;  ///< the first reason, as the rank said it
  std::string advice;
  std::string host;
  std::string phase;
  std::string lost_host{};  ///< the host that the launcher no longer hears from
  int rank = -1;
  std::int64_t step = -1;
  int exit_code = 1;
};

/// `rank 1 killed by signal 9 (Killed) (host b, phase step, step 17)`, as far as it is known.
std::string describe(const Verdict& verdict);

struct EventsSince {
  std::optional<Verdict> verdict;  ///< the first failure: later ones follow from it
  std::optional<int> exit_code;    ///< of the `end` event
};

/// Reads the events after byte `offset` of events.jsonl (where this launch began). A torn or
/// foreign line is skipped; no file = no events.
EventsSince read_events(base::FileSystem& files, const std::string& path, std::uint64_t offset);

/// A rank's death as its launcher reports it, or as its supervisor saw it.
struct RankDeath {
  int rank = -1;
  std::string host;
  int signal = 0;  ///< 0 = it exited
  int exit_code = 0;
  std::string phase{};  ///< empty when only the launcher told
  std::int64_t step = -1;
};

/// Passes on what people should read of a launcher's standard error. mpirun's framed notices
/// about ranks that ended are taken in instead, and the same warning of several ranks becomes
/// one line with `(x3 ranks)`. One thread.
class MessageFilter {
 public:
  /// Complete lines to show now for bytes that arrived.
  std::string take(std::string_view bytes);
  /// What is still held back, at the end or when nothing came for a moment.
  std::string flush();
  bool holds_something() const;
  const std::optional<RankDeath>& death() const { return death_; }
  /// The host that the launcher says it has lost; empty when none.
  const std::string& lost_host() const { return lost_host_; }

 private:
  struct Warning {
    std::string text;
    std::vector<std::string> lines;
  };
  void take_line(std::string line, std::string& shown);
  void end_block(std::string& shown);
  void flush_warnings(std::string& shown);

  std::string partial_;
  std::vector<std::string> block_;  // a framed notice under way, its opening ruler first
  std::vector<Warning> warnings_;
  std::optional<RankDeath> death_;
  std::string lost_host_;
};

/// `signal 9 (Killed)`.
std::string name_of_signal(int number);

}  // namespace lockstep::launcher
