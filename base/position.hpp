#pragma once
// Where a rank is in its run. Written by the rank's own thread, read by anybody: by the rank's
// error messages, by the health file, and, as it may lie in shared memory, by the supervisor.
// Lock-free, so a reader never holds a rank up; several values read in turn may be of two moments.

#include <atomic>
#include <cstdint>

namespace lockstep::base {

enum class Phase : std::int32_t {
  kStart,       ///< opening data, building the model, meeting the other ranks
  kRestore,     ///< reading a checkpoint, or the state that was left in memory
  kStep,        ///< the steps themselves
  kEvaluation,  ///< metrics of the test data
  kSave,        ///< the part of a save that training waits for
  kDivergence,  ///< dropping an update, or going back to a checkpoint
  kPrediction,
  kBenchmark,
  kEnd,  ///< after the last step
};
inline constexpr int kPhases = 9;

/// `step`, `evaluation`, ...
const char* name_of(Phase phase);

/// Nanoseconds of CLOCK_MONOTONIC: the same clock for all processes of a host.
std::int64_t monotonic_nanoseconds();

class Position {
 public:
  void enter(Phase phase) {
    phase_.store(phase, std::memory_order_relaxed);
    entered_.store(monotonic_nanoseconds(), std::memory_order_relaxed);
  }
  /// `steps` optimizer steps are finished.
  void finished(std::int64_t steps) { step_.store(steps, std::memory_order_relaxed); }

  Phase phase() const { return phase_.load(std::memory_order_relaxed); }
  std::int64_t step() const { return step_.load(std::memory_order_relaxed); }
  /// When the phase began, on the clock of monotonic_nanoseconds.
  std::int64_t entered() const { return entered_.load(std::memory_order_relaxed); }

 private:
  std::atomic<Phase> phase_{Phase::kStart};
  std::atomic<std::int64_t> step_{0};
  std::atomic<std::int64_t> entered_{monotonic_nanoseconds()};
};
static_assert(std::atomic<Phase>::is_always_lock_free);
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

}  // namespace lockstep::base
