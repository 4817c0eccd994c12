#include "base/stop_signal.hpp"

#include <gtest/gtest.h>

#include <csignal>

#include "base/error.hpp"

namespace lockstep::base {
namespace {

TEST(StopSignal, CountsNothingAtFirst) {
  const StopSignal stop;

  EXPECT_EQ(stop.requests(), 0);
  EXPECT_EQ(stop.first_signal(), 0);
}

TEST(StopSignal, TakesEachOfTheFourSignalsAsARequest) {
  for (const int number : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT}) {
    const StopSignal stop;

    std::raise(number);

    EXPECT_EQ(stop.requests(), 1) << number;
    EXPECT_EQ(stop.first_signal(), number);
  }
}

TEST(StopSignal, RemembersTheFirstSignalAndCountsAll) {
  const StopSignal stop;

  std::raise(SIGTERM);
  std::raise(SIGINT);
  std::raise(SIGINT);

  EXPECT_EQ(stop.requests(), 3);
  EXPECT_EQ(stop.first_signal(), SIGTERM);
}

TEST(StopSignal, StartsAnewWithEachObject) {
  {
    const StopSignal stop;
    std::raise(SIGUSR1);
  }

  const StopSignal stop;

  EXPECT_EQ(stop.requests(), 0);
  EXPECT_EQ(stop.first_signal(), 0);
}

volatile std::sig_atomic_t former_handler_calls = 0;

TEST(StopSignal, GivesTheFormerHandlerBack) {
  former_handler_calls = 0;
  const auto before = std::signal(SIGUSR1, [](int) { former_handler_calls = 1; });
  {
    const StopSignal stop;
    std::raise(SIGUSR1);
    EXPECT_EQ(former_handler_calls, 0);
  }

  std::raise(SIGUSR1);

  EXPECT_EQ(former_handler_calls, 1);
  std::signal(SIGUSR1, before);
}

TEST(StopSignal, AllowsOneAtATimeInAProcess) {
  {
    const StopSignal stop;
    EXPECT_THROW(StopSignal(), InternalError);
  }
  EXPECT_NO_THROW(StopSignal());
}

TEST(StopSignalDeathTest, LeavesTheDefaultInPlaceAfterwards) {
  EXPECT_EXIT(
      {
        { const StopSignal stop; }
        std::raise(SIGTERM);
      },
      testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace lockstep::base
