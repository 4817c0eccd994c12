#include "data/diff.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "base/error.hpp"
#include "data/drift.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using tests::add_column;

/// The statistics by their definitions; NaN was replaced by a number above all others.
template <class T>
Drift reference(std::vector<T> a, std::vector<T> b, bool classes) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  const auto at_or_below = [](const std::vector<T>& values, T value) {
    return static_cast<double>(std::upper_bound(values.begin(), values.end(), value) -
                               values.begin()) /
           static_cast<double>(values.size());
  };
  std::vector<T> all = a;
  all.insert(all.end(), b.begin(), b.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  Drift drift;
  for (const T value : all) {
    drift.ks = std::max(drift.ks, std::abs(at_or_below(a, value) - at_or_below(b, value)));
  }
  std::vector<T> edges;  // the upper ones
  if (classes) {
    edges = all;
  } else {
    for (int i = 1; i < 10; ++i) {
      // The first value with at least i tenths at or below it.
      edges.push_back(*std::find_if(a.begin(), a.end(),
                                    [&](T value) { return at_or_below(a, value) * 10 >= i; }));
    }
    edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
    edges.push_back(all.back());
    edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  }
  double a_below = 0;
  double b_below = 0;
  for (const T edge : edges) {
    const double in_a = at_or_below(a, edge) - a_below;
    const double in_b = at_or_below(b, edge) - b_below;
    a_below += in_a;
    b_below += in_b;
    if (in_a < 1e-12 && in_b < 1e-12) continue;
    const double p = std::max(1e-4, in_a);
    const double q = std::max(1e-4, in_b);
    drift.psi += (q - p) * std::log(q / p);
  }
  return drift;
}

class Diff : public ::testing::Test {
 protected:
  template <class T>
  void write(const std::string& name, DType dtype, const std::vector<T>& values,
             const std::string& column = "x") {
    DatasetWriter writer(directory_.file(name));
    add_column(writer, column, dtype, {static_cast<std::int64_t>(values.size())}, values);
    writer.commit();
  }
  FileDifference run(const DiffOptions& options = {}) {
    return diff(directory_.file("a"), directory_.file("b"), options);
  }
  template <class T>
  void compare_with_reference(DType dtype, const std::vector<T>& a, const std::vector<T>& b,
                              const std::string& column = "x") {
    write("a", dtype, a, column);
    write("b", dtype, b, column);
    const auto wanted = reference(a, b, column == "y");

    const auto found = run().columns.at(0).drift;

    ASSERT_TRUE(found);
    EXPECT_NEAR(found->ks, wanted.ks, 1e-12);
    EXPECT_NEAR(found->psi, wanted.psi, 1e-9);
    EXPECT_EQ(found->uncertainty, 0);
  }

  tests::TemporaryDirectory directory_;
};

TEST_F(Diff, OfAFewNumbersIsWhatWasWorkedOutByHand) {
  write<std::int32_t>("a", DType::kI32, {0, 0, 1, 1}, "y");
  write<std::int32_t>("b", DType::kI32, {0, 1, 1, 1}, "y");

  const auto difference = run();

  ASSERT_THAT(difference.columns, SizeIs(1));
  const auto& drift = *difference.columns[0].drift;
  EXPECT_EQ(drift.ks, 0.25);
  EXPECT_NEAR(drift.psi, 0.25 * std::log(1.5) - 0.25 * std::log(0.5), 1e-12);
  EXPECT_TRUE(difference.has_drifted(difference.columns[0]));
  EXPECT_FALSE(difference.is_good());
}

TEST_F(Diff, FindsNothingBetweenAFileAndItself) {
  write<float>("a", DType::kF32, {3, 1, 4, 1, 5});

  const auto difference = diff(directory_.file("a"), directory_.file("a"), {});

  EXPECT_EQ(difference.columns[0].drift->psi, 0);
  EXPECT_EQ(difference.columns[0].drift->ks, 0);
  EXPECT_TRUE(difference.is_good());
}

TEST_F(Diff, TellsHowSchemasDiffer) {
  {
    DatasetWriter writer(directory_.file("a"));
    add_column<float>(writer, "x", DType::kF32, {2, 1}, {1, 2});
    add_column<float>(writer, "same", DType::kF32, {2}, {1, 2});
    add_column<float>(writer, "old", DType::kF32, {2}, {1, 2});
    writer.commit();
  }
  {
    DatasetWriter writer(directory_.file("b"));
    add_column<double>(writer, "x", DType::kF64, {2, 1}, {1, 2});
    add_column<float>(writer, "same", DType::kF32, {4}, {1, 2, 1, 2});
    add_column<float>(writer, "new", DType::kF32, {2}, {1, 2});
    writer.commit();
  }

  const auto difference = run();

  ASSERT_THAT(difference.columns, SizeIs(4));
  EXPECT_EQ(difference.columns[0].name, "old");
  EXPECT_EQ(difference.columns[0].presence, ColumnDifference::Presence::kFirst);
  EXPECT_TRUE(difference.columns[1].same_schema());
  EXPECT_EQ(difference.columns[1].second_rows, 4);
  EXPECT_EQ(difference.columns[2].first_schema, "f32 [1]");
  EXPECT_EQ(difference.columns[2].second_schema, "f64 [1]");
  EXPECT_FALSE(difference.columns[2].drift);
  EXPECT_EQ(difference.columns[3].presence, ColumnDifference::Presence::kSecond);
  EXPECT_FALSE(difference.is_good());
}

TEST_F(Diff, TakesNanAsAValueAboveAllOthersAndZeroAsOne) {
  const float nan = std::nanf("");
  write<float>("a", DType::kF32, {-0.f, 0, 1, std::numeric_limits<float>::infinity()});
  write<float>("b", DType::kF32, {0, -0.f, nan, -nan});

  EXPECT_EQ(run().columns[0].drift->ks, 0.5);
}

TEST_F(Diff, OfLargeColumnsIsNearlyExact) {
  std::mt19937_64 random(4);
  std::normal_distribution<float> normal;
  std::vector<float> a(20'000);
  std::vector<float> b(15'000);
  for (auto& value : a) value = normal(random);
  for (auto& value : b) value = normal(random) + 0.2f;
  write("a", DType::kF32, a);
  write("b", DType::kF32, b);
  const auto exact = *run().columns[0].drift;

  const auto coarse = *run({.exact_elements = 100}).columns[0].drift;

  EXPECT_GT(coarse.uncertainty, 0);
  EXPECT_LE(coarse.ks, exact.ks);
  EXPECT_GE(coarse.ks + coarse.uncertainty, exact.ks);
  EXPECT_NEAR(coarse.psi, exact.psi, 0.01);
}

TEST_F(Diff, DoesNotDependOnThreads) {
  std::mt19937_64 random(5);
  std::vector<std::int64_t> a(700'000);
  std::vector<std::int64_t> b(500'000);
  for (auto& value : a) value = static_cast<std::int64_t>(random() >> 20);
  for (auto& value : b) value = static_cast<std::int64_t>(random() >> 21);
  write("a", DType::kI64, a);
  write("b", DType::kI64, b);
  const auto first = to_json(run({.threads = 1}));

  for (const int threads : {2, 3, 7}) EXPECT_EQ(to_json(run({.threads = threads})), first);
}

TEST_F(Diff, RefusesThresholdsThatAreNone) {
  write<float>("a", DType::kF32, {1});
  EXPECT_THAT(tests::message_of<base::ConfigError>(
                  [&] { diff(directory_.file("a"), directory_.file("a"), {.most_psi = -1}); }),
              HasSubstr("thresholds --psi -1"));
}

RC_GTEST_PROP(DriftMeter, IsTheDefinition,
              (std::vector<std::int8_t> a, std::vector<std::int8_t> b)) {
  RC_PRE(!a.empty() && !b.empty());
  for (const bool classes : {false, true}) {
    detail::DriftMeter meter(
        static_cast<std::int64_t>(a.size()), static_cast<std::int64_t>(b.size()),
        classes ? detail::DriftMeter::Bins::kValues : detail::DriftMeter::Bins::kQuantiles);
    for (int value = -128; value < 128; ++value) {
      const auto in_a = std::count(a.begin(), a.end(), value);
      const auto in_b = std::count(b.begin(), b.end(), value);
      if (in_a + in_b > 0) meter.add(in_a, in_b);
    }

    const auto found = meter.finish();

    const auto wanted = reference(a, b, classes);
    RC_ASSERT(std::abs(found.ks - wanted.ks) < 1e-12);
    RC_ASSERT(std::abs(found.psi - wanted.psi) < 1e-9);
  }
}

TEST_F(Diff, IsTheDefinitionInEveryWayOfCounting) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 8; ++round) {
    std::vector<float> a(1 + random() % 500);
    std::vector<double> wide(1 + random() % 500);
    std::vector<std::int16_t> narrow(1 + random() % 500);
    for (auto& value : a) value = static_cast<float>(random() % 100) - 50;
    for (auto& value : wide) value = static_cast<double>(random()) * 0x1p-63 - 1;
    for (auto& value : narrow) value = static_cast<std::int16_t>(random() % 300);
    const auto half = [](auto values) {
      values.resize(values.size() / 2 + 1);
      return values;
    };
    compare_with_reference(DType::kF32, a, half(a));
    compare_with_reference(DType::kF64, wide, half(wide));
    compare_with_reference(DType::kI16, half(narrow), narrow);
  }
}

TEST_F(Diff, IsTheDefinitionForClasses) {
  std::mt19937_64 random(6);
  for (int round = 0; round < 8; ++round) {
    std::vector<std::int64_t> a(1 + random() % 300);
    std::vector<std::int64_t> b(1 + random() % 300);
    for (auto& value : a) value = static_cast<std::int64_t>(random() % 7) - 2;
    for (auto& value : b) value = static_cast<std::int64_t>(random() % 9) - 2;
    compare_with_reference(DType::kI64, a, b, "y");
  }
}

}  // namespace
}  // namespace lockstep::data
