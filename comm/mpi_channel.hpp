#pragma once
// The side channel of an MPI group: failure notices and roll calls travel here while the group's
// own operations hang. Shared by a world communicator and everything split from it. Inside comm
// only. Any thread.

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/failure.hpp"

namespace lockstep::comm {

/// Throws CommError naming the call and MPI's own text when `result` is not MPI_SUCCESS.
void check_mpi(int result, std::string_view call);

class MpiChannel {
 public:
  /// Which operation of which group.
  struct Place {
    std::uint64_t group = 0;
    std::int64_t number = 0;
    std::uint64_t history = 0;  ///< see Operation
  };
  /// What a rank answered to a roll call; nothing when it gave no answer.
  struct Answer {
    int rank = 0;
    Place place;
    std::string operation;  ///< empty = in none
  };

  /// Collective over MPI_COMM_WORLD.
  explicit MpiChannel(std::shared_ptr<FailureRecord> record);
  /// Leaves MPI alone when the group has failed.
  ~MpiChannel();

  /// Takes in what has arrived: failures into the record, roll calls get their answer.
  void poll();

  /// Tells every rank of the world; waits a moment for the notices to leave. Never throws.
  void announce(const Failure& failure) noexcept;

  /// What this rank says when a roll call arrives; empty = in no operation.
  void set_current(const Place& place, std::string operation);

  /// Asks `ranks` (of the world) what they do; returns when all have answered, `patience` is over
  /// or the group has failed.
  std::vector<Answer> call_roll(std::span<const int> ranks, std::chrono::milliseconds patience);

  /// Keeps a buffer that MPI may still write to until the process ends.
  void abandon(std::vector<std::byte> buffer);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lockstep::comm
