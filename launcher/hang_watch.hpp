#pragma once
// Whether ranks still get anywhere: no rank's step or phase has changed for longer than this run,
// in this phase, ever took (times a margin). Outside the steps, which are all alike, a rank that
// computes and waits for nobody gets somewhere too: an evaluation may take hours.
// Pure: time and views are passed in; one thread.

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/position.hpp"
#include "launcher/verdict.hpp"

namespace lockstep::launcher {

/// What is known of a rank's process at one moment.
struct RankView {
  int rank = 0;
  std::string host;
  bool lives = true;
  char state = 'S';  ///< of proc(5): R, S, D, T (stopped), t (traced), Z
  base::Phase phase = base::Phase::kStart;
  std::int64_t step = 0;
  std::int64_t cpu_ticks = 0;  ///< processor time used so far
  std::string waits_in;        ///< an operation; empty = it does not wait for others
};

class HangWatch {
 public:
  using Time = std::chrono::nanoseconds;  // on any monotonic clock

  struct Options {
    std::chrono::duration<double> fixed{0};  ///< launch.hang_seconds; 0 = learned
    std::chrono::duration<double> longest{
        0};  ///< launch.deadline_seconds: while nothing is learned
  };
  explicit HangWatch(Options options) : options_(options) {}

  /// Looks at all ranks of this host. Returns the verdict once there was no progress for too long.
  std::optional<Verdict> look(Time now, std::span<const RankView> ranks);

  /// The longest that a rank was seen at one place of the phase.
  Time longest(base::Phase phase) const { return longest_[static_cast<std::size_t>(phase)]; }
  /// Since the newest progress.
  Time waited(Time now) const { return progress_ ? now - *progress_ : Time{0}; }

  /// What a phase may take without progress, as learned so far.
  Time allowed(base::Phase phase) const;

 private:
  struct Place {
    base::Phase phase = base::Phase::kStart;
    std::int64_t step = -1;
    std::int64_t cpu_ticks = 0;  // where they count as progress
    bool operator==(const Place&) const = default;
  };
  Options options_;
  std::vector<Place> places_;  // of each rank, when last looked at
  std::optional<Time> progress_;
  std::array<Time, base::kPhases> longest_{};  // seen in each phase, from one change to the next
  std::array<int, base::kPhases> changes_{};
};

/// Names the rank that the others wait for, or the calls that do not fit each other.
Verdict hang_verdict(std::span<const RankView> ranks, std::chrono::nanoseconds waited);

/// The ranks' positions, waits and processes as a table for people.
std::string describe(std::span<const RankView> ranks, std::chrono::nanoseconds waited);

}  // namespace lockstep::launcher
