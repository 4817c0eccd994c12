#pragma once
// Time of steps by phase: measured on each rank, summed up over a run, compared between ranks.
// Torch-free values; one rank, one thread.

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "checkpoints/step_anatomy.hpp"

namespace lockstep::trainer {

/// Where a step's time went on this rank. Waiting for other ranks is part of exchange.
struct StepTimes {
  std::chrono::nanoseconds data{0}, forward{0}, backward{0}, exchange{0}, optimizer{0};
  /// Exchange that went on beside the others, on devices. There `backward` holds both passes.
  std::chrono::nanoseconds hidden{0};
};

/// Adds the time since the last lap to one of the counters.
class Laps {
 public:
  void add_to(std::chrono::nanoseconds& counter) {
    const auto now = std::chrono::steady_clock::now();
    counter += now - last_;
    last_ = now;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// Sums over steps, in nanoseconds: what ranks tell each other, so no padding and no pointers.
struct StepTotals {
  std::int64_t steps = 0;
  std::int64_t data = 0, forward = 0, backward = 0, exchange = 0, optimizer = 0, hidden = 0;
  std::int64_t wall = 0;

  void add(const StepTimes& times, std::chrono::nanoseconds step_wall);
};

/// Compares ranks; entry r is rank r's. The straggler is the rank with the most work (all but
/// exchange), named when that is at least a tenth above the median rank's.
checkpoints::StepAnatomy compare_ranks(std::span<const StepTotals> totals,
                                       const std::vector<std::string>& host_of_rank);

}  // namespace lockstep::trainer
