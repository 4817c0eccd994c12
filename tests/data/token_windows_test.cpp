#include "data/token_windows.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "base/error.hpp"

namespace lockstep::data {
namespace {

TEST(TokenWindows, HaveTheNamesOfTheConfiguration) {
  EXPECT_EQ(token_windows_of("fixed"), TokenWindows::kFixed);
  EXPECT_EQ(token_windows_of("shifted"), TokenWindows::kShifted);
  EXPECT_THROW(token_windows_of("shift"), base::ConfigError);
}

TEST(WindowCount, LeavesATokenAfterTheLastFixedWindow) {
  EXPECT_EQ(window_count(8, 4, TokenWindows::kFixed), 1);
  EXPECT_EQ(window_count(9, 4, TokenWindows::kFixed), 2);
}

TEST(WindowCount, LeavesRoomForEveryShift) {
  EXPECT_EQ(window_count(7, 4, TokenWindows::kShifted), 0);
  EXPECT_EQ(window_count(8, 4, TokenWindows::kShifted), 1);
  EXPECT_EQ(window_count(11, 4, TokenWindows::kShifted), 1);
  EXPECT_EQ(window_count(12, 4, TokenWindows::kShifted), 2);
}

RC_GTEST_PROP(WindowCount, IsTheMostThatFitForEveryShift, ()) {
  const auto context = *rc::gen::inRange<std::int64_t>(1, 50);
  const auto tokens = *rc::gen::inRange<std::int64_t>(1, 1000);

  for (const auto windows : {TokenWindows::kFixed, TokenWindows::kShifted}) {
    const auto most_shift = windows == TokenWindows::kShifted ? context - 1 : 0;
    const auto needed = [&](std::int64_t count) { return count * context + most_shift + 1; };

    const auto count = window_count(tokens, context, windows);

    RC_ASSERT(needed(count + 1) > tokens);
    RC_ASSERT(count < 1 || needed(count) <= tokens);
  }
}

// Worked by an independent implementation.
TEST(WindowShift, NeverChangesItsBits) {
  EXPECT_EQ(window_shift(5, 0, 1000), 133);
  EXPECT_EQ(window_shift(5, 1, 1000), 785);
  EXPECT_EQ(window_shift(5, 2, 1000), 307);
  EXPECT_EQ(window_shift(5, 3, 1000), 347);
}

TEST(WindowShift, TakesEachShiftEquallyOften) {
  constexpr int kEpochs = 8000;
  std::map<std::int64_t, int> times;

  for (int epoch = 0; epoch < kEpochs; ++epoch) ++times[window_shift(2, epoch, 8)];

  // Five standard deviations of 8000 draws at 1 in 8: 5 * sqrt(8000 * 7 / 64) = 148.
  EXPECT_EQ(times.size(), 8u);
  for (const auto& [shift, count] : times) EXPECT_NEAR(count, kEpochs / 8, 148) << shift;
}

TEST(WindowShift, OfOneTokenIsNone) { EXPECT_EQ(window_shift(1, 7, 1), 0); }

}  // namespace
}  // namespace lockstep::data
