#include "trainer/parameter_layout.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace lockstep::trainer {
namespace {

FlatTensor tensor(const char* name, std::int64_t count) {
  return {.name = name, .shape = {count}, .offset = 0, .count = count};
}

TEST(ParameterLayout, LeavesNoHolesAndPutsWholeCacheLinesFirst) {
  std::vector tensors{tensor("a.bias", 10), tensor("b.weight", 32), tensor("c.weight", 16)};

  const auto end = place_dense(tensors, 100);

  EXPECT_EQ(end, 158);
  EXPECT_EQ(tensors[0].name, "b.weight");
  EXPECT_EQ(tensors[0].offset, 100);
  EXPECT_EQ(tensors[1].name, "c.weight");
  EXPECT_EQ(tensors[1].offset, 132);
  EXPECT_EQ(tensors[2].name, "a.bias");
  EXPECT_EQ(tensors[2].offset, 148);
}

TEST(ParameterLayout, BlocksDoNotSpanParametersAndBuffers) {
  ParameterLayout layout;
  layout.parameter_count = 25;
  layout.buffer_count = 5;

  const auto blocks = cut_blocks(layout, /*most_blocks=*/4, /*least_floats=*/10);

  const std::vector<FlatRange> expected{{0, 10}, {10, 20}, {20, 25}, {25, 30}};
  EXPECT_EQ(blocks, expected);
}

RC_GTEST_PROP(ParameterLayout, SharesTileTheBlocksAndDifferByAtMostOne, ()) {
  ParameterLayout layout;
  layout.parameter_count = *rc::gen::inRange<std::int64_t>(1, 5'000'000);
  layout.buffer_count = *rc::gen::inRange<std::int64_t>(0, 10'000);
  const int ranks = *rc::gen::inRange(1, 20);

  const auto blocks = cut_blocks(layout);
  const auto shares = share_blocks(blocks, ranks);

  std::int64_t element = 0;
  for (const auto& block : blocks) {
    RC_ASSERT(block.begin == element);
    RC_ASSERT(block.end > block.begin);
    element = block.end;
  }
  RC_ASSERT(element == layout.flat_count());
  std::int64_t next = 0;
  const auto even = static_cast<std::int64_t>(blocks.size()) / ranks;
  for (const auto& share : shares) {
    RC_ASSERT(share.begin == next);
    RC_ASSERT(share.count() == even || share.count() == even + 1);
    next = share.end;
  }
  RC_ASSERT(next == static_cast<std::int64_t>(blocks.size()));
}

}  // namespace
}  // namespace lockstep::trainer
