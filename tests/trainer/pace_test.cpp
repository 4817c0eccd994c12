// A thread beside training gives a shared core back in small pieces, and takes all of an idle one.

#include "trainer/pace.hpp"

#include <gtest/gtest.h>

namespace lockstep::trainer {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

struct Spent {
  Pace::Duration worked{0}, rested{0};
};

/// A second of pieces of `piece`; each rest ends `late` after its time, and the process's other
/// threads have `busy` hundredths of a core.
Spent a_second_of(Pace& pace, Pace::Duration begin, Pace::Duration piece, Pace::Duration late,
                  int busy = 0) {
  Spent spent;
  auto now = begin, before = begin;
  while (now < begin + std::chrono::seconds(1)) {
    now += piece;
    spent.worked += piece;
    const auto rest = pace.rest(now, {.mine = piece, .others = (now - before) * busy / 100});
    before = now;
    if (rest == Pace::Duration{0}) continue;
    now += rest + late;
    spent.rested += rest + late;
    pace.rested(now, late);
  }
  return spent;
}

TEST(Pace, TakesNearlyAllOfAnIdleCore) {
  Pace pace(1);
  const auto spent = a_second_of(pace, {}, microseconds(500), microseconds(60));
  EXPECT_LT(spent.rested * 30, spent.worked);
}

TEST(Pace, TakesASixteenthOfASharedCoreInSmallPieces) {
  Pace pace(1);
  a_second_of(pace, {}, microseconds(500), milliseconds(2));  // it has noticed
  const auto begin = milliseconds(1000);
  const auto spent = a_second_of(pace, begin, microseconds(500), milliseconds(2));
  EXPECT_LE(spent.worked * 15, spent.rested);
  EXPECT_GT(spent.worked * 24, spent.rested);
  // No two pieces without a rest between.
  EXPECT_GE(pace.rest(begin + milliseconds(1000), {.mine = microseconds(500)}), milliseconds(7));
}

TEST(Pace, SpeedsUpWhenTheCoreIsIdleAgain) {
  Pace pace(1);
  a_second_of(pace, {}, microseconds(500), milliseconds(2));
  a_second_of(pace, milliseconds(1000), microseconds(500), microseconds(60));
  const auto spent = a_second_of(pace, milliseconds(2000), microseconds(500), microseconds(60));
  EXPECT_LT(spent.rested * 30, spent.worked);
}

// A thread that has slept for long is let in before others at once, and would not know of them.
TEST(Pace, KnowsASharedCoreByTheProcessorTimeOfOthersToo) {
  Pace pace(1);
  a_second_of(pace, {}, microseconds(500), microseconds(60), 90);
  const auto spent = a_second_of(pace, milliseconds(1000), microseconds(500), microseconds(60), 90);
  EXPECT_LE(spent.worked * 14, spent.rested);
}

TEST(Pace, LeavesOthersTheirCoreWhereThereAreMore) {
  Pace pace(4);
  const auto spent = a_second_of(pace, {}, microseconds(500), microseconds(60), 100);
  EXPECT_LT(spent.rested * 30, spent.worked);
}

TEST(Pace, RestsInProportionToALongPiece) {
  Pace pace(1);
  EXPECT_EQ(pace.rest({}, {.mine = microseconds(100)}), Pace::Duration{0});
  EXPECT_GT(pace.rest({}, {.mine = milliseconds(5)}), Pace::Duration{0});
  pace.rested({}, milliseconds(1));
  EXPECT_EQ(pace.rest(milliseconds(5), {.mine = milliseconds(5)}), milliseconds(75));
}

}  // namespace
}  // namespace lockstep::trainer
