#pragma once
// Where the ranks are: which of them share memory. Found once at start; plain values afterwards.

#include <string>
#include <vector>

#include "comm/communicator.hpp"

namespace lockstep::comm {

/// Two processes with equal `memory` can map each other's shared memory and see each other's pids.
struct HostIdentity {
  std::string name;    ///< host name, for people
  std::string memory;  ///< host name, boot, /dev/shm and pid namespace
};

/// Of this process. Local.
HostIdentity this_host();

/// A node is a group of ranks that share memory. Its ranks are contiguous in rank order.
struct Topology {
  int rank = 0;
  int world_size = 1;
  int node = 0;
  int node_count = 1;
  int local_rank = 0;
  int local_size = 1;
  std::vector<int> node_of_rank;          // [world_size]
  std::vector<int> local_rank_of_rank;    // [world_size]
  std::vector<int> first_rank_of_node;    // [node_count + 1], the last entry is world_size
  std::vector<std::string> host_of_rank;  // [world_size]
};

/// `ranks_per_node_override` > 0 cuts the ranks into pretend nodes of that many (the last one may
/// be smaller), 0 asks the machine. Throws EnvironmentError when a node's ranks are not contiguous
/// or, with an override, when a pretend node would reach over two real ones. Collective.
Topology discover_topology(Communicator& world, const HostIdentity& host,
                           int ranks_per_node_override);

}  // namespace lockstep::comm
