#include "launcher/micro_batch_search.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace lockstep::launcher {
namespace {

using Sizes = std::vector<std::int64_t>;

TEST(MicroBatchSearch, TriesDivisorsThatLeaveEachRankOne) {
  EXPECT_EQ(micro_batch_candidates(12, 1), (Sizes{12, 6, 4, 3, 2, 1}));
  EXPECT_EQ(micro_batch_candidates(12, 3), (Sizes{4, 3, 2, 1}));
  EXPECT_EQ(micro_batch_candidates(12, 13), Sizes{});
}

TEST(MicroBatchSearch, SaysThatNoneFits) {
  EXPECT_EQ(largest_that_fits({8, 4, 2, 1}, [](auto) { return false; }), 0);
}

RC_GTEST_PROP(MicroBatchSearch, FindsTheLargestThatFitsInFewTrials, ()) {
  const auto batch = *rc::gen::inRange<std::int64_t>(1, 2000);
  const auto ranks = *rc::gen::inRange<std::int64_t>(1, 9);
  const auto room = *rc::gen::inRange<std::int64_t>(0, 2000);
  const auto candidates = micro_batch_candidates(batch, ranks);
  std::size_t trials = 0;
  const auto found = largest_that_fits(candidates, [&](std::int64_t size) {
    ++trials;
    return size <= room;
  });
  const auto right = std::ranges::find_if(candidates, [&](auto size) { return size <= room; });
  RC_ASSERT(found == (right == candidates.end() ? 0 : *right));
  RC_ASSERT(trials <= 6);
}

}  // namespace
}  // namespace lockstep::launcher
