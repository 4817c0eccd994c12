#include "comm/reduction_tree.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cstdint>

#include "base/error.hpp"
#include "comm/fold.hpp"
#include "comm/micro_batch_plan.hpp"

namespace lockstep::comm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
constexpr auto kLoad = FoldStep::Kind::kLoad;
constexpr auto kAdd = FoldStep::Kind::kAdd;

TEST(ReductionTree, SplitsSevenLeavesIntoFourTwoAndOne) {
  EXPECT_THAT(maximal_subtrees({0, 7}, 7), ElementsAre(LeafRange{0, 7}));
  EXPECT_THAT(maximal_subtrees({0, 6}, 7), ElementsAre(LeafRange{0, 4}, LeafRange{4, 6}));
  EXPECT_THAT(maximal_subtrees({1, 7}, 7),
              ElementsAre(LeafRange{1, 2}, LeafRange{2, 4}, LeafRange{4, 7}));
  EXPECT_THAT(maximal_subtrees({3, 5}, 7), ElementsAre(LeafRange{3, 4}, LeafRange{4, 5}));
}

TEST(ReductionTree, HasNoSubtreesInAnEmptyRange) {
  EXPECT_THAT(maximal_subtrees({3, 3}, 7), IsEmpty());
}

TEST(ReductionTree, RefusesARangeOutsideItsLeaves) {
  EXPECT_THROW(maximal_subtrees({0, 8}, 7), base::InternalError);
  EXPECT_THROW(maximal_subtrees({-1, 3}, 7), base::InternalError);
  EXPECT_THROW(maximal_subtrees({4, 3}, 7), base::InternalError);
}

TEST(FoldProgram, AddsLeavesPairwise) {
  const std::vector<LeafRange> leaves{{0, 1}, {1, 2}, {2, 3}, {3, 4}};

  EXPECT_THAT(
      fold_program(leaves, 4),
      ElementsAre(FoldStep{kLoad, 0}, FoldStep{kLoad, 1}, FoldStep{kAdd, 0}, FoldStep{kLoad, 2},
                  FoldStep{kLoad, 3}, FoldStep{kAdd, 0}, FoldStep{kAdd, 0}));
}

TEST(FoldProgram, LoadsAPartialThatIsTheWholeTree) {
  EXPECT_THAT(fold_program(std::vector<LeafRange>{{0, 5}}, 5), ElementsAre(FoldStep{kLoad, 0}));
}

TEST(FoldProgram, RefusesPartialsThatAreNotTreeNodesInOrder) {
  const std::vector<std::vector<LeafRange>> wrong{
      {},
      {{0, 3}, {3, 4}},          // [0, 3) is no node of the tree over four
      {{0, 2}},                  // ends early
      {{0, 2}, {2, 4}, {4, 5}},  // goes on too long
      {{2, 4}, {0, 2}},          // out of order
      {{0, 2}, {0, 2}, {2, 4}},  // twice
      {{0, 2}, {3, 4}},          // a hole
  };
  for (const auto& partials : wrong) EXPECT_THROW(fold_program(partials, 4), base::InternalError);
  EXPECT_THROW(fold_program({}, 0), base::InternalError);
}

TEST(TreeSum, AddsByTheTreeAndNotFromLeftToRight) {
  // (1e8f + 1) + (-1e8f + 1): both ones are lost. From left to right the second would survive.
  const std::vector<float> leaves{1e8F, 1, -1e8F, 1};

  EXPECT_EQ(tree_sum(std::span<const float>(leaves)), 0.0F);
  EXPECT_EQ(((leaves[0] + leaves[1]) + leaves[2]) + leaves[3], 1.0F);
}

TEST(TreeSum, OfNothingIsZero) { EXPECT_EQ(tree_sum(std::span<const double>()), 0.0); }

/// Values of very different sizes, so that another order of additions has other bits.
std::vector<float> uneven_values(std::int64_t count) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto mantissa = static_cast<float>(*rc::gen::inRange(-1000, 1000)) / 7.0F;
    values.push_back(std::ldexp(mantissa, *rc::gen::inRange(-20, 20)));
  }
  return values;
}

RC_GTEST_PROP(ReductionTree, TilesAnyRangeByDisjointNodesFromLeftToRight, ()) {
  const auto leaves = *rc::gen::inRange<std::int64_t>(1, 300);
  const auto begin = *rc::gen::inRange<std::int64_t>(0, leaves);
  const auto end = *rc::gen::inRange<std::int64_t>(begin, leaves + 1);

  auto next = begin;
  for (const auto& node : maximal_subtrees({begin, end}, leaves)) {
    RC_ASSERT(node.begin == next);
    RC_ASSERT(node.size() > 0);
    // Aligned: a node of size s starts at a multiple of the power of two at or above s.
    RC_ASSERT(node.begin % static_cast<std::int64_t>(
                               std::bit_ceil(static_cast<std::uint64_t>(node.size()))) ==
              0);
    next = node.end;
  }
  RC_ASSERT(next == end);
}

RC_GTEST_PROP(ReductionTree, GivesTheSameBitsForEveryNumberOfRanks, ()) {
  const auto leaves = *rc::gen::inRange<std::int64_t>(1, 65);
  const auto ranks = *rc::gen::inRange(1, static_cast<int>(leaves) + 1);
  const auto values = uneven_values(leaves);
  const MicroBatchPlan plan(leaves, ranks);

  std::vector<LeafRange> nodes;
  std::vector<float> sums;
  for (int rank = 0; rank < ranks; ++rank) {
    for (const auto& node : maximal_subtrees(plan.range_of(rank), leaves)) {
      nodes.push_back(node);
      sums.push_back(tree_sum(std::span<const float>(values).subspan(
          static_cast<std::size_t>(node.begin), static_cast<std::size_t>(node.size()))));
    }
  }
  std::vector<const float*> partials;
  partials.reserve(sums.size());
  for (const auto& sum : sums) partials.push_back(&sum);
  float total = 0;
  fold_partials(partials, fold_program(nodes, leaves), &total, 0, 1);

  RC_ASSERT(std::bit_cast<std::uint32_t>(total) ==
            std::bit_cast<std::uint32_t>(tree_sum(std::span<const float>(values))));
}

}  // namespace
}  // namespace lockstep::comm
