#pragma once
// A barrier in shared memory between the ranks of one node, a microsecond when all are there.
// Made and owned by NodeMemory. It spins briefly, then yields, then sleeps on a futex; a failure
// anywhere, a dead process and the deadline each end the wait.
// arrive_and_wait belongs to one thread a rank; fail may be called from any thread.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "comm/communicator.hpp"

namespace lockstep::comm {

class NodeBarrier {
 public:
  /// Bytes of shared memory that a barrier of `ranks` needs.
  static std::size_t bytes_needed(int ranks);

  /// `memory` is the same zeroed memory on every rank of `node` (page aligned, bytes_needed long).
  /// Both must outlive the barrier. All ranks must have made theirs before one of them waits.
  NodeBarrier(Communicator& node, std::byte* memory);
  NodeBarrier(const NodeBarrier&) = delete;
  NodeBarrier& operator=(const NodeBarrier&) = delete;

  /// Returns after every rank of the node has called; what they wrote before is visible then.
  /// Throws CommError with the first reason when a rank of this group or of its relatives by split
  /// has failed; CommError naming rank and pid when a process died; TimeoutError naming the ranks
  /// that have not arrived. All of these mark the group failed. Collective over the node.
  void arrive_and_wait(std::chrono::milliseconds deadline, std::string_view what);

  /// Marks the group failed, as Communicator::fail of the node's communicator does; ranks that
  /// wait in this barrier wake at once. Local.
  void fail(const std::string& reason, base::ExitCode code);

 private:
  struct Shared;
  struct Slot;

  void wait(std::uint32_t generation, std::chrono::milliseconds deadline, std::string_view what);
  void throw_if_failed();
  void throw_if_dead(std::uint32_t generation, std::string_view what) const;
  void mark_failed(const Failure& failure);
  bool has_arrived(int rank, std::uint32_t generation) const;

  Communicator& node_;
  Shared* shared_;
  Slot* slots_;
  int spins_;
};

}  // namespace lockstep::comm
