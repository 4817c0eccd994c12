#include "launcher/task_line.hpp"

#include <gtest/gtest.h>

#include "tests/support/fixed_clock.hpp"

namespace lockstep::launcher {
namespace {

using std::chrono::milliseconds;

TEST(TaskLine, KeepsStillForShortTasks) {
  tests::FixedClock clock;
  TaskLine line({.terminal = true}, clock);

  clock.sleep_for(milliseconds(900));

  EXPECT_EQ(line.due("writing rows", 1, 2), "");
}

TEST(TaskLine, TellsShareAndTimeLeftOfThePhase) {
  tests::FixedClock clock;
  TaskLine line({.terminal = true}, clock);
  line.due("reading types", 0, 9);
  clock.sleep_for(milliseconds(5000));
  line.due("writing rows", 0, 100);
  clock.sleep_for(milliseconds(20'000));

  EXPECT_EQ(line.due("writing rows", 25, 100), "writing rows  25% |██▌       |  eta 1:00");
}

TEST(TaskLine, IsNotRedrawnAllTheTime) {
  tests::FixedClock clock;
  TaskLine line({.terminal = true}, clock);
  clock.sleep_for(milliseconds(1000));
  EXPECT_NE(line.due("writing rows", 1, 9), "");

  clock.sleep_for(milliseconds(99));
  EXPECT_EQ(line.due("writing rows", 2, 9), "");
  clock.sleep_for(milliseconds(1));
  EXPECT_NE(line.due("writing rows", 3, 9), "");
}

TEST(TaskLine, IsForTerminalsAlone) {
  tests::FixedClock clock;
  TaskLine line({.terminal = false}, clock);
  clock.sleep_for(milliseconds(5000));

  EXPECT_EQ(line.due("writing rows", 1, 2), "");
}

}  // namespace
}  // namespace lockstep::launcher
