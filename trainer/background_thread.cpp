#include "trainer/background_thread.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <utility>

namespace lockstep::trainer {
namespace {

/// About a tenth of a busy core; all of an idle one. Less would leave a checkpoint unfinished for
/// as long as training computes.
constexpr int kNiceness = 10;

void lower_priority() {
  // On Linux the nice value is the thread's own. Where it is refused, the thread runs as others do.
  const auto thread = static_cast<id_t>(::gettid());
  (void)::setpriority(PRIO_PROCESS, thread, ::getpriority(PRIO_PROCESS, thread) + kNiceness);
  (void)::pthread_setname_np(::pthread_self(), "checkpoint");
}

Pace::Duration steady_time() { return std::chrono::steady_clock::now().time_since_epoch(); }

Pace::Duration time_of(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

int allowed_cores() {
  cpu_set_t cores;
  return ::sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) : 1;
}

/// What the process has spent since the last call.
class Meter {
 public:
  Pace::Spent operator()() {
    const auto mine = time_of(CLOCK_THREAD_CPUTIME_ID), all = time_of(CLOCK_PROCESS_CPUTIME_ID);
    const auto worked = mine - std::exchange(mine_, mine);
    return {.mine = worked, .others = all - std::exchange(all_, all) - worked};
  }

 private:
  Pace::Duration mine_ = time_of(CLOCK_THREAD_CPUTIME_ID);
  Pace::Duration all_ = time_of(CLOCK_PROCESS_CPUTIME_ID);
};

/// That somebody waits, as long as it lives.
class WaitedFor {
 public:
  explicit WaitedFor(std::atomic<bool>& flag) : flag_(flag) { flag_ = true; }
  ~WaitedFor() { flag_ = false; }
  WaitedFor(const WaitedFor&) = delete;
  WaitedFor& operator=(const WaitedFor&) = delete;

 private:
  std::atomic<bool>& flag_;
};

}  // namespace

JobState combined(JobState one, JobState other) {
  for (const auto state : {JobState::kRunning, JobState::kFailed, JobState::kDone}) {
    if (one == state || other == state) return state;
  }
  return JobState::kNone;
}

BackgroundThread::BackgroundThread(std::function<void()> first)
    : thread_([this, first = std::move(first)] { run(first); }) {}

BackgroundThread::~BackgroundThread() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BackgroundThread::run(const std::function<void()>& first) {
  lower_priority();
  try {
    if (first) first();
  } catch (...) {
    // It makes later jobs faster; they do not depend on it.
  }
  Pace pace(allowed_cores());
  Meter spent;
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return ends_ || job_; });
      if (ends_) return;
      job = std::exchange(job_, {});
    }
    std::exception_ptr error;
    const Check check = [&] {
      rest(pace.rest(steady_time(), spent()), pace);
      if (ends_) throw base::Error(base::ExitCode::kFailed, "the job was cancelled");
    };
    try {
      job(check);
    } catch (...) {
      error = std::current_exception();
    }
    job = {};  // what it holds is gone before anybody knows that it is done
    {
      const std::lock_guard lock(mutex_);
      error_ = error;
      state_.store(error == nullptr ? JobState::kDone : JobState::kFailed,
                   std::memory_order_release);
    }
    changed_.notify_all();
  }
}

void BackgroundThread::rest(Pace::Duration duration, Pace& pace) {
  if (duration == Pace::Duration{0}) return;
  const auto end = steady_time() + duration;
  {
    std::unique_lock lock(mutex_);
    if (waited_for_) return;
    changed_.wait_for(lock, duration, [&] { return ends_ || waited_for_; });
  }
  const auto now = steady_time();
  pace.rested(now, now - end);
}

void BackgroundThread::start(Job job) {
  {
    const std::lock_guard lock(mutex_);
    LOCKSTEP_EXPECT(state_ == JobState::kNone, "a job beside another one");
    job_ = std::move(job);
    state_ = JobState::kRunning;
  }
  changed_.notify_all();
}

void BackgroundThread::run_here(const Job& job) {
  LOCKSTEP_EXPECT(state_ == JobState::kNone, "a job beside another one");
  std::exception_ptr error;
  try {
    job([] {});
  } catch (...) {
    error = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  error_ = error;
  state_ = error == nullptr ? JobState::kDone : JobState::kFailed;
}

void BackgroundThread::wait(std::chrono::milliseconds deadline, const char* what,
                            const std::function<void()>& meanwhile) {
  constexpr std::chrono::milliseconds kSlice{100};
  const auto end = std::chrono::steady_clock::now() + deadline;
  std::unique_lock lock(mutex_);
  const WaitedFor waited_for(waited_for_);
  changed_.notify_all();  // it may rest
  while (!changed_.wait_for(lock, kSlice, [&] { return state_ != JobState::kRunning; })) {
    if (std::chrono::steady_clock::now() >= end) {
      throw base::TimeoutError(std::string(what) + " did not end within " +
                               std::to_string(deadline.count()) +
                               " ms (the file system hangs or is too slow); look at it, or raise "
                               "launch.deadline_seconds");
    }
    lock.unlock();
    meanwhile();
    lock.lock();
  }
}

std::exception_ptr BackgroundThread::take_end() {
  const std::lock_guard lock(mutex_);
  LOCKSTEP_EXPECT(state_ != JobState::kRunning, "the end of a job that runs");
  state_ = JobState::kNone;
  return std::exchange(error_, nullptr);
}

}  // namespace lockstep::trainer
