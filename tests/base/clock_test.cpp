#include "base/clock.hpp"

#include <gtest/gtest.h>

namespace lockstep::base {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(FormatUtc, WritesTheUnixEpochAsRfc3339) {
  EXPECT_EQ(format_utc(seconds(0)), "1970-01-01T00:00:00.000Z");
}

TEST(FormatUtc, KeepsMillisecondsAndDropsWhatIsBelow) {
  EXPECT_EQ(format_utc(milliseconds(1'769'860'800'123) + std::chrono::nanoseconds(999'999)),
            "2026-01-31T12:00:00.123Z");
}

TEST(FormatUtc, KnowsLeapDays) {
  EXPECT_EQ(format_utc(seconds(951'782'400)), "2000-02-29T00:00:00.000Z");
}

// A clock set before 1970 gave a negative millisecond field.
TEST(FormatUtc, CountsForwardsWithinASecondBeforeTheEpoch) {
  EXPECT_EQ(format_utc(milliseconds(-1)), "1969-12-31T23:59:59.999Z");
}

TEST(Clock, OfTheMachineNeverGoesBack) {
  const auto& clock = Clock::system();

  auto before = clock.now();
  for (int i = 0; i < 1000; ++i) {
    const auto after = clock.now();
    EXPECT_LE(before, after);
    before = after;
  }
}

TEST(Clock, OfTheMachineTellsWallTimeAfterThisWasWritten) {
  EXPECT_GT(format_utc(Clock::system().wall()), "2025-01-01");
}

}  // namespace
}  // namespace lockstep::base
