#pragma once
// How fast a thread beside training works: as fast as it can on an idle core; on one that it
// shares with training in short pieces with rests between them, so that each step loses the same
// small part of its time and none loses a lot. Used by BackgroundThread. One thread.

#include <chrono>

namespace lockstep::trainer {

/// Decides about rests; measures nothing itself.
class Pace {
 public:
  using Duration = std::chrono::nanoseconds;
  /// `cores`: how many the process may run on.
  explicit Pace(int cores) : cores_(cores) {}

  /// Processor time since the call before.
  struct Spent {
    Duration mine{0};    ///< of this thread
    Duration others{0};  ///< of the process's other threads
  };
  /// The rest that is due at `now`; 0 for none yet.
  Duration rest(Duration now, Spent spent);
  /// A rest ended `late` after its time, at `now`: whoever is late waited for the core.
  void rested(Duration now, Duration late);

 private:
  int cores_;
  Duration since_rest_{0};                     // own processor time
  Duration window_begin_{0}, window_busy_{0};  // and of the others since then
  Duration shared_until_{0};                   // the cores count as shared until then
};

}  // namespace lockstep::trainer
