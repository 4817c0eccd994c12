#include "comm/node_relay.hpp"

namespace lockstep::comm {

int NodeRelay::counterpart(int rank, int node) const {
  const auto index = static_cast<std::size_t>(node);
  const int first = topology_.first_rank_of_node[index];
  const int count = topology_.first_rank_of_node[index + 1] - first;
  return first + rank % count;
}

void NodeRelay::spread(std::span<std::byte> memory, std::span<const ByteRange> piece_of_rank,
                       std::string_view what) {
  if (topology_.node_count == 1) return;
  const auto piece = [&](int rank) {
    const auto range = piece_of_rank[static_cast<std::size_t>(rank)];
    return memory.subspan(range.begin, range.size());
  };
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (int node = 0; node < topology_.node_count; ++node) {
    if (node == topology_.node || piece(topology_.rank).empty()) continue;
    sends.push_back({counterpart(topology_.rank, node), piece(topology_.rank)});
  }
  for (int rank = 0; rank < topology_.world_size; ++rank) {
    if (topology_.node_of_rank[static_cast<std::size_t>(rank)] == topology_.node) continue;
    if (counterpart(rank, topology_.node) != topology_.rank || piece(rank).empty()) continue;
    receives.push_back({rank, piece(rank)});
  }
  world_.exchange(sends, receives, what);
}

}  // namespace lockstep::comm
