#include "data/permutation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "base/error.hpp"

namespace lockstep::data {
namespace {

std::vector<std::int64_t> all_of(const Permutation& order) {
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < order.rows(); ++i) rows.push_back(order.at(i));
  return rows;
}

std::vector<std::int64_t> counting(std::int64_t rows) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(rows));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

RC_GTEST_PROP(Permutation, HoldsEveryRowOnce, ()) {
  const auto rows = *rc::gen::inRange<std::int64_t>(1, 3000);
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const auto epoch = *rc::gen::inRange<std::int64_t>(0, 1000);

  auto order = all_of(Permutation(rows, seed, epoch, Shuffle::kOn));

  std::sort(order.begin(), order.end());
  RC_ASSERT(order == counting(rows));
}

RC_GTEST_PROP(Permutation, FindsThePositionOfASample, ()) {
  const auto rows = *rc::gen::inRange<std::int64_t>(1, std::int64_t{1} << 40);
  const Permutation order(rows, *rc::gen::arbitrary<std::uint64_t>(), 3,
                          *rc::gen::element(Shuffle::kOn, Shuffle::kOff));
  const auto position = *rc::gen::inRange<std::int64_t>(0, rows);

  RC_ASSERT(order.position_of(order.at(position)) == position);
}

RC_GTEST_PROP(Permutation, GivesManyPositionsAtOnceAsOneByOne, ()) {
  const auto rows = *rc::gen::inRange<std::int64_t>(1, 200'000);
  const Permutation order(rows, *rc::gen::arbitrary<std::uint64_t>(), 1,
                          *rc::gen::element(Shuffle::kOn, Shuffle::kOff));
  const auto first = *rc::gen::inRange<std::int64_t>(0, rows);
  std::vector<std::int64_t> samples(static_cast<std::size_t>(
      *rc::gen::inRange<std::int64_t>(0, std::min<std::int64_t>(100, rows - first) + 1)));

  order.take(first, samples);

  for (std::size_t i = 0; i < samples.size(); ++i) {
    RC_ASSERT(samples[i] == order.at(first + static_cast<std::int64_t>(i)));
  }
}

RC_GTEST_PROP(Permutation, StaysInRangeForHugeFiles, ()) {
  const auto rows = *rc::gen::inRange<std::int64_t>(1, std::int64_t{1} << 60);
  const auto position = *rc::gen::inRange<std::int64_t>(0, rows);

  const auto row = Permutation(rows, 7, 0, Shuffle::kOn).at(position);

  RC_ASSERT(row >= 0 && row < rows);
}

TEST(Permutation, IsTheFileOrderWithoutShuffle) {
  EXPECT_EQ(all_of(Permutation(100, 1, 3, Shuffle::kOff)), counting(100));
}

TEST(Permutation, OfOneRowIsThatRow) { EXPECT_EQ(Permutation(1, 9, 9, Shuffle::kOn).at(0), 0); }

TEST(Permutation, DependsOnSeedAndEpochAlone) {
  const auto order = all_of(Permutation(50, 1, 0, Shuffle::kOn));

  EXPECT_EQ(all_of(Permutation(50, 1, 0, Shuffle::kOn)), order);
  EXPECT_NE(all_of(Permutation(50, 2, 0, Shuffle::kOn)), order);
  EXPECT_NE(all_of(Permutation(50, 1, 1, Shuffle::kOn)), order);
}

// These orders are part of every run's bits: a change here breaks resuming and comparing runs.
TEST(Permutation, KeepsItsPublishedOrders) {
  EXPECT_EQ(all_of(Permutation(10, 1, 0, Shuffle::kOn)),
            (std::vector<std::int64_t>{7, 1, 4, 2, 9, 6, 3, 5, 0, 8}));
  EXPECT_EQ(Permutation(60'000, 42, 3, Shuffle::kOn).at(0), 24028);
  EXPECT_EQ(Permutation(std::int64_t{1} << 40, 42, 3, Shuffle::kOn).at(123'456'789), 491599342278);
}

/// Sum over cells of (seen - expected)^2 / expected.
double chi_square(const std::vector<double>& seen, double expected) {
  double sum = 0;
  for (const double count : seen) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

TEST(Permutation, PutsEachRowAtEachPositionEquallyOften) {
  constexpr std::int64_t kRows = 11;
  constexpr int kEpochs = 22'000;
  std::vector<double> seen(kRows * kRows, 0);

  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const Permutation order(kRows, 5, epoch, Shuffle::kOn);
    for (std::int64_t i = 0; i < kRows; ++i) {
      ++seen[static_cast<std::size_t>(i * kRows + order.at(i))];
    }
  }

  // Rows and columns have fixed sums: 100 degrees of freedom; 149 is the quantile of 0.999.
  EXPECT_LT(chi_square(seen, double{kEpochs} / kRows), 149);
}

TEST(Permutation, GivesEachOrderOfFiveRowsEquallyOften) {
  constexpr int kEpochs = 60'000;
  std::map<std::vector<std::int64_t>, double> seen;

  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    ++seen[all_of(Permutation(5, 11, epoch, Shuffle::kOn))];
  }

  ASSERT_EQ(seen.size(), 120u);
  std::vector<double> counts;
  counts.reserve(seen.size());
  for (const auto& [order, count] : seen) counts.push_back(count);
  // 119 degrees of freedom; 172 is the quantile of 0.999.
  EXPECT_LT(chi_square(counts, kEpochs / 120.0), 172);
}

TEST(Permutation, SeparatesNeighboursOfTheFile) {
  constexpr std::int64_t kRows = 60'000;
  const Permutation order(kRows, 3, 0, Shuffle::kOn);
  int close = 0;

  for (std::int64_t i = 0; i + 1 < kRows; ++i) {
    if (std::abs(order.at(i + 1) - order.at(i)) < 30) ++close;
  }

  // By chance 59 of them (2 * 29.5 / 60000 of the pairs); 100 is five deviations away.
  EXPECT_LT(close, 100);
  EXPECT_GT(close, 20);
}

TEST(Permutation, RefusesPositionsOutsideTheFile) {
  const Permutation order(10, 1, 0, Shuffle::kOn);

  EXPECT_THROW(order.at(10), base::InternalError);
  EXPECT_THROW(order.at(-1), base::InternalError);
  EXPECT_THROW(Permutation(0, 1, 0, Shuffle::kOn), base::InternalError);
}

}  // namespace
}  // namespace lockstep::data
