#include "comm/topology.hpp"

#include <sys/stat.h>

#include <fstream>
#include <map>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::comm {
namespace {

/// Device and file number: the same for two processes that see the same thing there.
std::string file_identity(const char* path) {
  struct stat status {};
  if (::stat(path, &status) != 0) return "absent";
  return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
}

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

/// Node number of each rank from what each can share memory with.
std::vector<int> real_nodes(const std::vector<std::string>& memories,
                            const std::vector<std::string>& hosts) {
  std::vector<int> nodes;
  std::map<std::string, int> node_of_memory;
  for (std::size_t rank = 0; rank < memories.size(); ++rank) {
    const auto next = static_cast<int>(node_of_memory.size());
    const auto [entry, is_new] = node_of_memory.emplace(memories[rank], next);
    if (!is_new && entry->second != nodes.back()) {
      throw base::EnvironmentError(
          "rank " + std::to_string(rank) + " is on host " + base::quote(hosts[rank]) +
          " again after rank " + std::to_string(rank - 1) + " on host " +
          base::quote(hosts[rank - 1]) +
          " (ranks of a node must have neighbouring numbers to share memory); start with 'mpirun "
          "--map-by slot' or 'srun --distribution=block'");
    }
    nodes.push_back(entry->second);
  }
  return nodes;
}

std::vector<int> pretend_nodes(const std::vector<int>& real, int ranks_per_node) {
  std::vector<int> nodes;
  for (int rank = 0; rank < static_cast<int>(real.size()); ++rank) {
    const int node = rank / ranks_per_node;
    const auto here = static_cast<std::size_t>(rank);
    if (rank % ranks_per_node != 0 && real[here] != real[here - 1]) {
      throw base::EnvironmentError(
          "nodes of " + std::to_string(ranks_per_node) + " ranks would put ranks " +
          std::to_string(rank - 1) + " and " + std::to_string(rank) +
          " of two hosts on one (they share no memory); set launch.ranks_per_node to 0");
    }
    nodes.push_back(node);
  }
  return nodes;
}

}  // namespace

HostIdentity this_host() {
  const auto name = base::host_name();
  return {.name = name,
          .memory = name + "|" + boot_id() + "|" + file_identity("/dev/shm") + "|" +
                    file_identity("/proc/self/ns/pid")};
}

Topology discover_topology(Communicator& world, const HostIdentity& host,
                           int ranks_per_node_override) {
  const auto hosts = world.all_gather_texts(host.name, "host names");
  const auto memories = world.all_gather_texts(host.memory, "host identities");
  auto nodes = real_nodes(memories, hosts);
  if (ranks_per_node_override > 0) nodes = pretend_nodes(nodes, ranks_per_node_override);

  Topology topology;
  topology.rank = world.rank();
  topology.world_size = world.size();
  topology.host_of_rank = hosts;
  for (int rank = 0; rank < world.size(); ++rank) {
    const int node = nodes[static_cast<std::size_t>(rank)];
    if (node == static_cast<int>(topology.first_rank_of_node.size())) {
      topology.first_rank_of_node.push_back(rank);
    }
    topology.local_rank_of_rank.push_back(rank - topology.first_rank_of_node.back());
  }
  topology.node_count = static_cast<int>(topology.first_rank_of_node.size());
  topology.first_rank_of_node.push_back(world.size());
  const auto mine = static_cast<std::size_t>(world.rank());
  const auto my_node = static_cast<std::size_t>(nodes[mine]);
  topology.node = nodes[mine];
  topology.local_rank = topology.local_rank_of_rank[mine];
  topology.local_size =
      topology.first_rank_of_node[my_node + 1] - topology.first_rank_of_node[my_node];
  topology.node_of_rank = std::move(nodes);
  return topology;
}

}  // namespace lockstep::comm
