#pragma once
// How often to save: the interval between checkpoints that loses least time, and how much disk a
// run's checkpoints will need. Pure functions of numbers; any thread.

#include <chrono>
#include <cstdint>
#include <string>

namespace lockstep::checkpoints {

/// The time between two saves that makes least of what saves cost and what failures throw away.
/// `cost`: what one save takes from training; `time_between_failures`: the mean. Of Young (1974),
/// "A first order approximation to the optimum checkpoint interval", with the terms of higher order
/// of Daly (2006), "A higher order estimate of the optimum checkpoint interval for restart dumps",
/// equation 37. Never negative; `time_between_failures` where a save costs twice that or more.
std::chrono::duration<double> best_interval(std::chrono::duration<double> cost,
                                            std::chrono::duration<double> time_between_failures);

/// What a save is taken to cost training before one was measured.
std::chrono::duration<double> guessed_cost(std::uint64_t state_bytes);

/// The mean time between failures to reckon with: a day for each node before anything is known
/// (of the order of what large clusters report), less what the run itself has met: `failures`
/// restarts in `elapsed`. One failure at that mean counts as seen.
std::chrono::duration<double> time_between_failures(int nodes, std::int64_t failures,
                                                    std::chrono::duration<double> elapsed);

/// What a run's checkpoints need on their disk.
struct DiskNeed {
  std::uint64_t state_bytes = 0;   ///< of one checkpoint
  std::uint64_t frozen_bytes = 0;  ///< of these, the part that all checkpoints have in common
  std::uint64_t held_bytes = 0;    ///< of those that are there already
  std::int64_t keep = 1;           ///< newest that stay
  bool best = false;               ///< one more stays
  std::int64_t kept_for_good = 0;  ///< that will stay besides (checkpoint.keep_every_steps)

  /// Room without which there cannot be one checkpoint and its successor.
  std::uint64_t least_bytes() const;
  /// Room for all that stay and the one being written, beside what is there.
  std::uint64_t whole_bytes() const;
};

}  // namespace lockstep::checkpoints
