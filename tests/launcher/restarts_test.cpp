#include "launcher/restarts.hpp"

#include <gtest/gtest.h>

namespace lockstep::launcher {
namespace {

using Next = RestartBook::Next;

LaunchEnd failed_at(std::int64_t step, int exit_code = 1) {
  LaunchEnd end;
  end.exit_code = exit_code;
  end.verdict.emplace();
  end.verdict->exit_code = exit_code;
  end.step = step;
  return end;
}

TEST(RestartBook, EndsWhenTheRunIsDoneOrStopped) {
  LaunchEnd stopped;
  stopped.exit_code = 75;

  EXPECT_EQ(RestartBook(3).decide({}), Next::kEnd);
  EXPECT_EQ(RestartBook(3).decide(stopped), Next::kEnd);
}

TEST(RestartBook, DoesNotRepeatWhatWouldHappenAgain) {
  for (const int code : {2, 3, 4, 5, 6, 7, 124, 130, 143}) {
    EXPECT_EQ(RestartBook(3).decide(failed_at(5, code)), Next::kEnd) << code;
  }
}

TEST(RestartBook, RestartsUntilTheBudgetIsSpent) {
  RestartBook book(2);

  EXPECT_EQ(book.decide(failed_at(1)), Next::kRestart);
  EXPECT_EQ(book.decide(failed_at(2)), Next::kRestart);
  EXPECT_EQ(book.decide(failed_at(3)), Next::kSpent);
  EXPECT_EQ(book.restarts(), 2);
}

TEST(RestartBook, NeverRestartsWithoutABudget) {
  EXPECT_EQ(RestartBook(0).decide(failed_at(1)), Next::kEnd);
}

// A machine that killed a process every few seconds hit the start-up of two attempts in a row at
// step 456, and the run gave up because "restarts do not get past step 0".
TEST(RestartBook, GivesUpWhenThreeRestartsInARowGetNoFurther) {
  RestartBook book(10);

  EXPECT_EQ(book.decide(failed_at(7)), Next::kRestart);
  EXPECT_EQ(book.decide(failed_at(0)), Next::kRestart);
  EXPECT_EQ(book.decide(failed_at(7)), Next::kRestart);
  EXPECT_EQ(book.decide(failed_at(6)), Next::kNoProgress);
  EXPECT_EQ(book.furthest_step(), 7);
}

TEST(RestartBook, ForgivesAFruitlessRestartThatIsFollowedByProgress) {
  RestartBook book(10);

  EXPECT_EQ(book.decide(failed_at(7)), Next::kRestart);
  EXPECT_EQ(book.decide(failed_at(7)), Next::kRestart);
  EXPECT_EQ(book.decide(failed_at(8)), Next::kRestart);
  EXPECT_EQ(book.decide(failed_at(8)), Next::kRestart);
}

TEST(RestartBook, CountsAFailureBeforeTheFirstStep) {
  RestartBook book(10);

  EXPECT_EQ(book.decide(failed_at(-1)), Next::kRestart);
  EXPECT_EQ(book.decide(failed_at(-1)), Next::kRestart);
  EXPECT_EQ(book.decide(failed_at(-1)), Next::kNoProgress);
}

}  // namespace
}  // namespace lockstep::launcher
