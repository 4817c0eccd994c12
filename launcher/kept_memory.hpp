#pragma once
// The memory in which the ranks of a node keep the state of the last finished step, so that it is
// there when ranks are started again. For ranks of its own host the supervisor holds files without
// a name, with which nothing can be left behind. Ranks on other hosts make files in /dev/shm, named
// by a word of the supervisor's; they remove them when they end in order, and those that nobody
// came back for go with a later launch. One thread.

#include <map>
#include <string>
#include <vector>

#include "launcher/memory_file.hpp"

namespace lockstep::launcher {

inline constexpr char kKeptMemoryVariable[] = "LOCKSTEP_KEPT_MEMORY";

/// The supervisor's part.
class KeptMemory {
 public:
  /// One file for each of `nodes` (pretend) nodes of this host; empty until ranks use them. 0:
  /// none.
  static KeptMemory here(int nodes);
  /// Files of the ranks' own, on whichever hosts they are.
  static KeptMemory elsewhere();

  /// Value of LOCKSTEP_KEPT_MEMORY for the ranks; empty: nothing is kept.
  std::string addresses() const;
  bool is_elsewhere() const { return !word_.empty(); }

 private:
  KeptMemory() = default;
  std::vector<MemoryFile> files_;
  std::string word_;
};

/// A rank's part: the file of its node, by LOCKSTEP_KEPT_MEMORY.
class NodeKeptMemory {
 public:
  /// `makes`: makes a file that is to have a name, when it is not there yet; one rank a node.
  NodeKeptMemory(const std::map<std::string, std::string>& variables, int node, bool makes);
  ~NodeKeptMemory();
  NodeKeptMemory(const NodeKeptMemory&) = delete;
  NodeKeptMemory& operator=(const NodeKeptMemory&) = delete;

  /// Where the file is; empty when this host has none.
  const std::string& path() const { return path_; }
  /// Says that the run lives, so that no other launch takes the file for abandoned: from time to
  /// time. Any thread.
  void keep() const;
  /// Removes this run's files of nodes that are no more. When all ranks of this host have theirs.
  void remove_strays() const;

 private:
  std::string word_;
  std::string path_;
  int descriptor_ = -1;  // of a file with a name: while some rank has it, nobody else removes it
};

/// Removes the files with names of this run's ranks on this host.
void forget_kept_memory(const std::map<std::string, std::string>& variables);

}  // namespace lockstep::launcher
