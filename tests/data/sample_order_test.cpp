#include "data/sample_order.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "base/error.hpp"

namespace lockstep::data {
namespace {

std::vector<std::int64_t> taken(const SampleOrder& order, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> samples(static_cast<std::size_t>(count));
  order.take(first, samples);
  return samples;
}

OrderOptions blocks(std::int64_t block, std::int64_t window) {
  return {.kind = OrderKind::kBlock, .block_samples = block, .window_blocks = window};
}

RC_GTEST_PROP(SampleOrder, HoldsEverySampleOnce, ()) {
  const auto samples = *rc::gen::inRange<std::int64_t>(1, 500);
  const auto options =
      blocks(*rc::gen::inRange<std::int64_t>(1, 60), *rc::gen::inRange<std::int64_t>(1, 12));

  auto order =
      taken(SampleOrder(samples, *rc::gen::arbitrary<std::uint64_t>(), 2, options), 0, samples);

  std::sort(order.begin(), order.end());
  std::vector<std::int64_t> all(order.size());
  std::iota(all.begin(), all.end(), 0);
  RC_ASSERT(order == all);
}

RC_GTEST_PROP(SampleOrder, BeginsAnywhere, ()) {
  const auto samples = *rc::gen::inRange<std::int64_t>(1, 300);
  const auto options =
      blocks(*rc::gen::inRange<std::int64_t>(1, 40), *rc::gen::inRange<std::int64_t>(1, 9));
  const SampleOrder order(samples, 5, 1, options);
  const auto first = *rc::gen::inRange<std::int64_t>(0, samples);
  const auto count = *rc::gen::inRange<std::int64_t>(0, samples - first + 1);

  const auto all = taken(order, 0, samples);
  const auto part = taken(order, first, count);

  RC_ASSERT(std::equal(part.begin(), part.end(), all.begin() + first));
}

RC_GTEST_PROP(SampleOrder, StaysInAWindowOfBlocks, ()) {
  const auto block = *rc::gen::inRange<std::int64_t>(1, 20);
  const auto window = *rc::gen::inRange<std::int64_t>(1, 6);
  const auto samples = block * *rc::gen::inRange<std::int64_t>(1, 40);
  const SampleOrder order(samples, *rc::gen::arbitrary<std::uint64_t>(), 0, blocks(block, window));

  const auto all = taken(order, 0, samples);

  for (std::int64_t begin = 0; begin < samples; begin += block * window) {
    const auto end = std::min(begin + block * window, samples);
    std::set<std::int64_t> seen;
    for (auto i = begin; i < end; ++i) seen.insert(all[static_cast<std::size_t>(i)] / block);
    RC_ASSERT(static_cast<std::int64_t>(seen.size()) == (end - begin) / block);
  }
}

TEST(SampleOrder, MixesTheBlocksOfAWindow) {
  const SampleOrder order(64 * 100, 3, 0, blocks(64, 16));

  const auto all = taken(order, 0, 64 * 16);

  // Neighbours in the order come from the same block by chance alone: 1 of 16.
  int same = 0;
  for (std::size_t i = 0; i + 1 < all.size(); ++i) same += all[i] / 64 == all[i + 1] / 64 ? 1 : 0;
  EXPECT_GT(same, 25);
  EXPECT_LT(same, 110);
}

TEST(SampleOrder, DependsOnSeedAndEpochAlone) {
  const auto order = taken(SampleOrder(1000, 1, 0, blocks(10, 8)), 0, 1000);

  EXPECT_EQ(taken(SampleOrder(1000, 1, 0, blocks(10, 8)), 0, 1000), order);
  EXPECT_NE(taken(SampleOrder(1000, 2, 0, blocks(10, 8)), 0, 1000), order);
  EXPECT_NE(taken(SampleOrder(1000, 1, 1, blocks(10, 8)), 0, 1000), order);
}

// These orders are part of every run's bits: a change here breaks resuming and comparing runs.
TEST(SampleOrder, KeepsItsPublishedOrders) {
  EXPECT_EQ(taken(SampleOrder(11, 1, 0, blocks(3, 2)), 0, 11),
            (std::vector<std::int64_t>{2, 4, 5, 3, 0, 1, 10, 7, 6, 8, 9}));
}

TEST(SampleOrder, IsTheFileOrderWithoutShuffle) {
  auto options = blocks(4, 2);
  options.shuffle = Shuffle::kOff;

  EXPECT_THAT(taken(SampleOrder(10, 1, 3, options), 4, 3), ::testing::ElementsAre(4, 5, 6));
}

TEST(SampleOrder, RefusesBlocksOfNothing) {
  EXPECT_THROW(SampleOrder(10, 1, 0, blocks(0, 2)), base::ConfigError);
  EXPECT_THROW(SampleOrder(10, 1, 0, blocks(2, 0)), base::ConfigError);
}

}  // namespace
}  // namespace lockstep::data
