#pragma once
// One segment of memory that all ranks of a node map, zeroed: parameters once a node, gradients
// summed where they lie. Has no name in the file system once made, so nothing stays after a crash.
// Each rank owns its mapping; ranks may end theirs in any order. What ranks write to it is ordered
// by its barrier, or by any operation of the node's communicator.

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "comm/communicator.hpp"
#include "comm/node_barrier.hpp"

namespace lockstep::comm {

class NodeMemory {
 public:
  /// `node`: the ranks of one node (all processes, or all threads of one process); it must outlive
  /// this object. `what` names the memory for people. Throws EnvironmentError on all ranks when
  /// /dev/shm has too little room. Collective over the node.
  /// `kept` is the path of a memory file that somebody else holds and that therefore outlives the
  /// ranks; empty = a segment of their own. The first rank's word counts. What lies in the file
  /// stays, see `survived`.
  NodeMemory(Communicator& node, std::size_t bytes, std::string_view what,
             const std::string& kept = {});
  ~NodeMemory();
  /// Whether the file system of `kept` has room for `bytes` in it, with what it has already. Local.
  static bool has_room_in(const std::string& kept, std::size_t bytes);
  NodeMemory(const NodeMemory&) = delete;
  NodeMemory& operator=(const NodeMemory&) = delete;

  std::span<std::byte> bytes() { return bytes_; }  // page aligned
  /// Whether a kept file had something in it already: what former ranks left.
  bool survived() const { return survived_; }
  NodeBarrier& barrier() { return *barrier_; }

 private:
  class Mapping;
  static std::shared_ptr<Mapping> make(Communicator& node, std::size_t bytes,
                                       std::string_view what);
  void use_kept(Communicator& node, std::size_t bytes, std::string_view what,
                const std::string& kept);

  std::shared_ptr<Mapping> mapping_;  // shared by the ranks of a thread group
  std::shared_ptr<Mapping> kept_;     // null unless there is a kept file
  bool survived_ = false;
  std::span<std::byte> bytes_;
  std::optional<NodeBarrier> barrier_;
};

}  // namespace lockstep::comm
