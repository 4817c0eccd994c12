#include "trainer/class_counts.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <numeric>

namespace lockstep::trainer {
namespace {

TEST(ClassCounts, GivesTiesToTheLowerClass) {
  const std::vector<float> outputs{1, 3, 3, 0};

  EXPECT_EQ(largest_class(outputs.data(), 4), 1);
  EXPECT_EQ(classes_before(outputs.data(), 4, 1), 0);
  EXPECT_EQ(classes_before(outputs.data(), 4, 2), 1);
  EXPECT_EQ(classes_before(outputs.data(), 4, 3), 3);
}

TEST(ClassCounts, CountsWhatOneCanCountByHand) {
  ClassCounts counts(3, {1, 2}, CountDetail::kConfusion);
  const std::vector<float> outputs{5, 1, 0,   // 0
                                   0, 2, 9,   // 2
                                   1, 1, 1};  // 0, by the tie
  const std::vector<std::int64_t> labels{0, 1, 2};

  counts.add(outputs.data(), labels.data(), 3);

  EXPECT_EQ(counts.samples(), 3);
  EXPECT_EQ(counts.correct(), 1);
  EXPECT_EQ(counts.hits(0), 1);
  EXPECT_EQ(counts.hits(1), 2) << "class 1 is second in the second sample";
  EXPECT_EQ(counts.support(1), 1);
  EXPECT_EQ(counts.predicted(0), 2);
  EXPECT_EQ(counts.correct_of(0), 1);
  const std::vector<std::int64_t> expected{1, 0, 0, 0, 0, 1, 1, 0, 0};
  EXPECT_TRUE(std::ranges::equal(counts.confusion(), expected));
}

RC_GTEST_PROP(ClassCounts, IsWhatSortingEachSampleGives, ()) {
  const auto classes = *rc::gen::inRange<std::int64_t>(1, 7);
  const auto samples = *rc::gen::inRange<std::int64_t>(0, 12);
  std::vector<float> outputs;
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < samples; ++i) {
    labels.push_back(*rc::gen::inRange<std::int64_t>(0, classes));
    for (std::int64_t c = 0; c < classes; ++c) {
      outputs.push_back(static_cast<float>(*rc::gen::inRange(-2, 3)));  // many ties
    }
  }
  const auto k = *rc::gen::inRange<std::int64_t>(1, classes + 1);
  std::int64_t correct = 0, hits = 0;
  std::vector<std::int64_t> confusion(static_cast<std::size_t>(classes * classes));
  for (std::int64_t i = 0; i < samples; ++i) {
    const float* row = outputs.data() + i * classes;
    std::vector<std::int64_t> order(static_cast<std::size_t>(classes));
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](auto a, auto b) { return row[a] > row[b]; });
    const auto label = labels[static_cast<std::size_t>(i)];
    correct += order[0] == label ? 1 : 0;
    hits += std::find(order.begin(), order.begin() + k, label) != order.begin() + k ? 1 : 0;
    ++confusion[static_cast<std::size_t>(label * classes + order[0])];
  }

  // In two parts that are summed up, as ranks do.
  const auto first = *rc::gen::inRange<std::int64_t>(0, samples + 1);
  ClassCounts left(classes, {k}, CountDetail::kConfusion), right = left;
  left.add(outputs.data(), labels.data(), first);
  right.add(outputs.data() + first * classes, labels.data() + first, samples - first);
  for (std::size_t i = 0; i < left.values().size(); ++i) left.values()[i] += right.values()[i];

  RC_ASSERT(left.samples() == samples);
  RC_ASSERT(left.correct() == correct);
  RC_ASSERT(left.hits(0) == hits);
  RC_ASSERT(std::ranges::equal(left.confusion(), confusion));
  for (std::int64_t c = 0; c < classes; ++c) {
    std::int64_t support = 0, predicted = 0;
    for (std::int64_t other = 0; other < classes; ++other) {
      support += confusion[static_cast<std::size_t>(c * classes + other)];
      predicted += confusion[static_cast<std::size_t>(other * classes + c)];
    }
    RC_ASSERT(left.support(c) == support);
    RC_ASSERT(left.predicted(c) == predicted);
    RC_ASSERT(left.correct_of(c) == confusion[static_cast<std::size_t>(c * classes + c)]);
  }
}

}  // namespace
}  // namespace lockstep::trainer
