#pragma once
// Spreads what ranks wrote into their node's shared memory to the other nodes, so that every byte
// crosses the wire once a node. Used for parameters, norms and losses after each step.
// One thread a rank; nothing to do and no MPI call when there is one node.

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/topology.hpp"

namespace lockstep::comm {

/// Bytes [begin, end) of a shared array.
struct ByteRange {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t size() const { return end - begin; }
};

class NodeRelay {
 public:
  /// Both must outlive the relay. Local.
  NodeRelay(Communicator& world, const Topology& topology) : world_(world), topology_(topology) {}

  /// `memory` is one array that exists once a node; rank r wrote piece_of_rank[r]. Afterwards each
  /// node's array holds every piece, for this rank's reads once its node's barrier has passed.
  /// Collective.
  void spread(std::span<std::byte> memory, std::span<const ByteRange> piece_of_rank,
              std::string_view what);

  /// The rank of `node` that handles what comes from or goes to `rank` of another node.
  int counterpart(int rank, int node) const;

 private:
  Communicator& world_;
  const Topology& topology_;
};

}  // namespace lockstep::comm
