// The thread beside training: one job at a time, its end taken note of, and an end that waits for
// nothing but the piece in hand.

#include "trainer/background_thread.hpp"

#include <gtest/gtest.h>

#include <latch>

namespace lockstep::trainer {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{20000};

void wait(BackgroundThread& thread) {
  thread.wait(kPatience, "the job", [] {});
}

TEST(BackgroundThread, RunsAJobAndIsFreeWhenItsEndWasTakenNoteOf) {
  BackgroundThread thread;
  int runs = 0;
  EXPECT_EQ(thread.state(), JobState::kNone);

  for (int i = 1; i <= 3; ++i) {
    thread.start([&](const auto&) { ++runs; });
    wait(thread);

    EXPECT_EQ(thread.state(), JobState::kDone);
    EXPECT_EQ(runs, i);
    EXPECT_EQ(thread.take_end(), nullptr);
    EXPECT_EQ(thread.state(), JobState::kNone);
  }
}

TEST(BackgroundThread, RefusesAJobBesideAnotherOne) {
  std::latch go(1);
  BackgroundThread thread;
  thread.start([&](const auto&) { go.wait(); });

  EXPECT_THROW(thread.start([](const auto&) {}), base::InternalError);
  EXPECT_THROW(thread.take_end(), base::InternalError);

  go.count_down();
  wait(thread);
  EXPECT_THROW(thread.start([](const auto&) {}), base::InternalError);
}

TEST(BackgroundThread, HandsOnWhatAJobThrowsAndGoesOn) {
  BackgroundThread thread;
  thread.start([](const auto&) { throw base::DataError("torn"); });
  wait(thread);

  EXPECT_EQ(thread.state(), JobState::kFailed);
  EXPECT_THROW(std::rethrow_exception(thread.take_end()), base::DataError);
  thread.start([](const auto&) {});
  wait(thread);
  EXPECT_EQ(thread.state(), JobState::kDone);
}

TEST(BackgroundThread, RunsWhatComesFirstBeforeAnyJobAndForgetsWhatItThrows) {
  std::latch go(1);
  bool prepared = false, seen = false;
  BackgroundThread thread([&] {
    go.wait();
    prepared = true;
    throw std::runtime_error("lost");
  });
  EXPECT_EQ(thread.state(), JobState::kNone);
  thread.start([&](const auto&) { seen = prepared; });
  EXPECT_EQ(thread.state(), JobState::kRunning);

  go.count_down();
  wait(thread);

  EXPECT_TRUE(seen);
  EXPECT_EQ(thread.state(), JobState::kDone);
}

TEST(BackgroundThread, RunsAJobOnTheCallersThreadWithTheSameStates) {
  BackgroundThread thread;
  std::thread::id where;
  thread.run_here([&](const auto&) { where = std::this_thread::get_id(); });
  EXPECT_EQ(where, std::this_thread::get_id());
  EXPECT_EQ(thread.state(), JobState::kDone);
  EXPECT_THROW(thread.run_here([](const auto&) {}), base::InternalError);
  EXPECT_EQ(thread.take_end(), nullptr);

  thread.run_here([](const auto&) { throw base::DataError("torn"); });

  EXPECT_EQ(thread.state(), JobState::kFailed);
  EXPECT_THROW(std::rethrow_exception(thread.take_end()), base::DataError);
}

TEST(BackgroundThread, WaitsNoLongerThanTheDeadline) {
  std::latch go(1);
  BackgroundThread thread;
  thread.start([&](const auto&) { go.wait(); });
  int meanwhile = 0;

  EXPECT_THROW(thread.wait(milliseconds(1), "the job", [&] { ++meanwhile; }), base::TimeoutError);
  EXPECT_THROW(thread.wait(kPatience, "the job", [] { throw base::CommError("rank 1 is gone"); }),
               base::CommError);

  EXPECT_EQ(thread.state(), JobState::kRunning);
  go.count_down();
}

TEST(BackgroundThread, EndsALongJobAtItsNextPiece) {
  std::latch begun(1);
  bool cancelled = false;
  {
    BackgroundThread thread;
    thread.start([&](const BackgroundThread::Check& check) {
      begun.count_down();
      try {
        for (;;) check();
      } catch (const base::Error&) {
        cancelled = true;
        throw;
      }
    });
    begun.wait();
  }

  EXPECT_TRUE(cancelled);
}

TEST(JobStates, OfAGroupAreRunningThenFailedThenDone) {
  const auto none = JobState::kNone, running = JobState::kRunning, done = JobState::kDone,
             failed = JobState::kFailed;

  EXPECT_EQ(combined(none, none), none);
  EXPECT_EQ(combined(none, done), done);
  EXPECT_EQ(combined(done, failed), failed);
  EXPECT_EQ(combined(failed, running), running);
  EXPECT_EQ(combined(running, done), running);
  for (const auto one : {none, running, done, failed}) {
    for (const auto other : {none, running, done, failed}) {
      EXPECT_EQ(combined(one, other), combined(other, one));
    }
  }
}

}  // namespace
}  // namespace lockstep::trainer
