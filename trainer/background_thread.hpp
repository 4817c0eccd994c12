#pragma once
// A thread beside the training thread that does one job at a time: checkpoints are written by it.
// Its priority is lower than training's, it rests between a job's pieces where they share a core
// and nobody waits for it (see Pace), and it speaks to no other rank. Used by CheckpointSaver.
// The object belongs to the rank's own thread; jobs run on the other one.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include "base/error.hpp"
#include "trainer/pace.hpp"

namespace lockstep::trainer {

enum class JobState : std::int32_t {
  kNone,     ///< there is no job, or its end was taken note of
  kRunning,  ///< or about to
  kDone,
  kFailed,
};

/// What is known of a group's jobs from those of its ranks: running while one is, then failed when
/// one has.
JobState combined(JobState one, JobState other);

class BackgroundThread {
 public:
  /// `first` runs before any job and is none; what it throws is lost. A long job calls `check` now
  /// and then (see start).
  explicit BackgroundThread(std::function<void()> first = {});
  /// Cancels the job, waits for it to notice, and throws nothing.
  ~BackgroundThread();
  BackgroundThread(const BackgroundThread&) = delete;
  BackgroundThread& operator=(const BackgroundThread&) = delete;

  /// What a job calls between its pieces, of a millisecond or so: rests, when it is time to;
  /// throws, and so ends the job, when the thread must end.
  using Check = std::function<void()>;
  using Job = std::function<void(const Check& check)>;
  /// Runs `job` after what runs now. The last job's end must have been taken note of.
  void start(Job job);
  /// As start, but on the calling thread and with its priority; the job has ended on return.
  void run_here(const Job& job);

  JobState state() const { return state_.load(std::memory_order_acquire); }
  /// Waits until no job runs, calling `meanwhile` (which may throw) about ten times a second.
  /// Throws TimeoutError naming `what` at the deadline.
  void wait(std::chrono::milliseconds deadline, const char* what,
            const std::function<void()>& meanwhile);
  /// Takes note of the job's end: what it threw, or nothing. The state is kNone then.
  std::exception_ptr take_end();

 private:
  void run(const std::function<void()>& first);
  void rest(Pace::Duration duration, Pace& pace);

  std::mutex mutex_;
  std::condition_variable changed_;
  Job job_;
  std::exception_ptr error_;
  std::atomic<JobState> state_{JobState::kNone};
  std::atomic<bool> ends_{false};
  std::atomic<bool> waited_for_{false};
  std::thread thread_;  // last: it uses the others
};

}  // namespace lockstep::trainer
