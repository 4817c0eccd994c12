#pragma once
// How a set of ranks is started: the command, its environment and who computes what, as a pure
// function of what was asked for and what the machine is. Used by every command that starts
// workers, and by `--dry-run`. Plain values, any thread.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "comm/reduction_tree.hpp"

namespace lockstep::launcher {

struct HostSlots {
  std::string host;
  int slots = 1;
};

/// Reads `a:4,b:4`; a host without a number has one slot. Throws ConfigError naming the part.
std::vector<HostSlots> parse_hosts(std::string_view text);

enum class RankBinding {
  kToCores,
  kByRanks  ///< not by mpirun: each rank goes to the NUMA node of its GPU by itself
};

struct LaunchRequest {
  std::string launcher = "auto";  ///< auto, local, mpirun or srun
  int ranks = 1;
  std::vector<HostSlots> hosts;    ///< empty = this machine, or what Slurm gave
  std::int64_t micro_batches = 0;  ///< of one step; 0 = one a rank
  int threads = 1;                 ///< per rank
  int cores = 1;                   ///< physical cores that this process may use
  RankBinding binding = RankBinding::kToCores;
  bool root = false;
  std::map<std::string, std::string> environment;  ///< of this process
  std::map<std::string, std::string> additions;    ///< variables that the workers must see
  std::string mpirun;                              ///< path, empty when there is none
  std::string srun;
  std::vector<std::string> worker;  ///< command of one rank
};

/// Whether ranks may be processes of other hosts: a list of hosts, or a job of several nodes.
bool has_other_hosts(const LaunchRequest& request);

enum class LaunchKind { kLocal, kMpirun, kSrun };

struct LaunchPlan {
  LaunchKind kind = LaunchKind::kLocal;
  int ranks = 1;
  bool all_here = true;  ///< all ranks are processes of this host
  std::vector<std::string> argv;
  /// Added to this process's environment. Never replaces what the user has set.
  std::map<std::string, std::string> environment;
  /// Micro-batches of a step that each rank computes; empty when they are not fixed.
  std::vector<comm::LeafRange> micro_batches;
};

/// Throws ConfigError for what cannot be (more ranks than micro-batches, `local` with several
/// ranks) and EnvironmentError when the launcher is not installed.
LaunchPlan plan_launch(const LaunchRequest& request);

const char* name_of(LaunchKind kind);

/// `argv` as one line that a POSIX shell reads back as the same words, with the additions to the
/// environment in front.
std::string shell_line(const LaunchPlan& plan);
std::string shell_quoted(std::string_view word);

}  // namespace lockstep::launcher
