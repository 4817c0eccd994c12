#pragma once
// The memory files in which the ranks of this host keep the state of the last finished step. The
// supervisor holds them, so that the state is there when ranks are started again.

#include <map>
#include <string>
#include <vector>

#include "launcher/memory_file.hpp"

namespace lockstep::launcher {

inline constexpr char kKeptMemoryVariable[] = "LOCKSTEP_KEPT_MEMORY";

class KeptMemory {
 public:
  /// One file for each of `nodes` (pretend) nodes of this host; empty until ranks use them.
  explicit KeptMemory(int nodes);
  /// Value of LOCKSTEP_KEPT_MEMORY for processes of this host.
  std::string addresses() const;
  /// The file of node `node` by LOCKSTEP_KEPT_MEMORY in `variables`; empty when this host has none.
  static std::string find(const std::map<std::string, std::string>& variables, int node);

 private:
  std::vector<MemoryFile> files_;
};

}  // namespace lockstep::launcher
