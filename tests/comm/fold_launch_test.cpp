#include "comm/fold_launch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.hpp"
#include "comm/fold.hpp"

namespace lockstep::comm {
namespace {

using testing::ElementsAre;

TEST(FoldLaunch, CountsTheAdditionsAfterEachLoad) {
  std::vector<LeafRange> leaves;
  for (std::int64_t i = 0; i < 7; ++i) leaves.push_back({i, i + 1});

  EXPECT_THAT(adds_after_loads(fold_program(leaves, 7)), ElementsAre(0, 1, 0, 2, 0, 1, 2));
  EXPECT_THAT(adds_after_loads(fold_program(std::vector<LeafRange>{{0, 7}}, 7)), ElementsAre(0));
}

TEST(FoldLaunch, RefusesWhatIsNoFold) {
  using Kind = FoldStep::Kind;
  const std::vector<FoldStep> empty, backwards{{Kind::kLoad, 1}, {Kind::kLoad, 0}, {Kind::kAdd, 0}},
      two{{Kind::kLoad, 0}, {Kind::kLoad, 1}}, early{{Kind::kLoad, 0}, {Kind::kAdd, 0}};

  for (const auto& program : {empty, backwards, two, early}) {
    EXPECT_THROW(adds_after_loads(program), base::InternalError);
  }
}

RC_GTEST_PROP(FoldLaunch, MakesTheSameSumsAsTheReference, ()) {
  const auto count = *rc::gen::inRange<std::int64_t>(1, 200);
  std::vector<LeafRange> leaves;
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    leaves.push_back({i, i + 1});
    values.push_back(static_cast<float>(*rc::gen::inRange(-1000000, 1000000)) / 3);
  }
  // As the kernel runs it, for one element.
  std::vector<float> stack;
  const auto adds = adds_after_loads(fold_program(leaves, count));
  for (std::size_t i = 0; i < adds.size(); ++i) {
    float value = values[i];
    for (int n = 0; n < adds[i]; ++n) {
      value = stack.back() + value;
      stack.pop_back();
    }
    stack.push_back(value);
  }
  RC_ASSERT(stack == std::vector<float>{tree_sum(std::span<const float>(values))});
}

}  // namespace
}  // namespace lockstep::comm
