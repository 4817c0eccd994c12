#include "data/statistics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <random>

#include "base/error.hpp"
#include "data/ordered_keys.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using tests::add_column;

/// What statistics should say, the plain way: everything sorted, everything in long double.
struct Reference {
  explicit Reference(std::vector<long double> values) : sorted(std::move(values)) {
    std::sort(sorted.begin(), sorted.end());
    for (const auto value : sorted) mean += value;
    mean /= static_cast<long double>(sorted.size());
    for (const auto value : sorted) deviation += (value - mean) * (value - mean);
    deviation = std::sqrt(deviation / static_cast<long double>(sorted.size()));
  }
  double quantile(double at) const {
    const auto place = at * static_cast<double>(sorted.size() - 1);
    const auto rank = static_cast<std::size_t>(std::floor(place));
    return std::lerp(static_cast<double>(sorted[rank]),
                     static_cast<double>(sorted[std::min(rank + 1, sorted.size() - 1)]),
                     place - std::floor(place));
  }
  std::vector<std::int64_t> histogram(std::int64_t bins) const {
    const auto low = static_cast<double>(sorted.front());
    const auto high = static_cast<double>(sorted.back());
    if (low == high) return {static_cast<std::int64_t>(sorted.size())};
    std::vector<std::int64_t> counts(static_cast<std::size_t>(bins));
    for (const auto value : sorted) {
      std::size_t bin = 0;
      while (bin + 1 < counts.size() &&
             static_cast<double>(value) >=
                 std::lerp(low, high, static_cast<double>(bin + 1) / static_cast<double>(bins))) {
        ++bin;
      }
      ++counts[bin];
    }
    return counts;
  }

  std::vector<long double> sorted;
  long double mean = 0;
  long double deviation = 0;
};

class Statistics : public ::testing::Test {
 protected:
  template <class Add>
  void write(const Add& add) {
    DatasetWriter writer(path_);
    add(writer);
    writer.commit();
  }
  template <class T>
  void write_one(DType dtype, const std::vector<T>& values, std::vector<std::int64_t> shape = {}) {
    if (shape.empty()) shape = {static_cast<std::int64_t>(values.size())};
    write([&](DatasetWriter& writer) { add_column<T>(writer, "x", dtype, shape, values); });
  }

  template <class T>
  void compare_with_reference(DType dtype, const std::vector<T>& values, std::int64_t bins) {
    write_one<T>(dtype, values);
    std::vector<long double> finite;
    std::int64_t nans = 0;
    for (const auto value : values) {
      const auto number = static_cast<double>(value);
      nans += std::isnan(number) ? 1 : 0;
      if (!std::isfinite(number)) continue;
      if constexpr (std::is_integral_v<T>) {
        finite.push_back(value);
      } else {
        finite.push_back(number);
      }
    }

    const auto column = statistics(path_, {.bins = bins}).columns.at(0);

    EXPECT_EQ(column.elements, static_cast<std::int64_t>(values.size()));
    EXPECT_EQ(column.nans, nans);
    EXPECT_EQ(column.nans + column.infinities,
              static_cast<std::int64_t>(values.size() - finite.size()));
    if (finite.empty()) {
      EXPECT_FALSE(column.overall);
      return;
    }
    const Reference reference(finite);
    EXPECT_EQ(column.zeros, std::count(finite.begin(), finite.end(), 0.0L));
    EXPECT_EQ(*column.smallest, static_cast<double>(reference.sorted.front()));
    EXPECT_EQ(*column.largest, static_cast<double>(reference.sorted.back()));
    const auto size =
        std::max(std::abs(reference.sorted.front()), std::abs(reference.sorted.back()));
    EXPECT_NEAR(column.overall->mean, reference.mean, 1e-13 * size);
    EXPECT_NEAR(column.overall->deviation, reference.deviation, 1e-13 * size);
    for (std::size_t i = 0; i < kQuantiles.size(); ++i) {
      EXPECT_EQ(column.quantiles.at(i), reference.quantile(kQuantiles[i])) << kQuantiles[i];
    }
    EXPECT_EQ(column.histogram.counts, reference.histogram(bins));
  }

  tests::TemporaryDirectory directory_;
  std::string path_ = directory_.file("f.h5");
};

TEST_F(Statistics, OfAFewNumbersAreThoseWorkedOutByHand) {
  write_one<float>(DType::kF32, {0, 1, 2, 5});

  const auto column = statistics(path_, {.bins = 5}).columns.at(0);

  EXPECT_EQ(column.overall->mean, 2);
  EXPECT_EQ(column.overall->deviation, std::sqrt(14.0 / 4));
  EXPECT_EQ(*column.smallest, 0);
  EXPECT_EQ(*column.largest, 5);
  EXPECT_EQ(column.zeros, 1);
  EXPECT_THAT(column.histogram.counts, ElementsAre(1, 1, 1, 0, 1));
  EXPECT_EQ(column.quantiles.at(3), 1.5);
}

TEST_F(Statistics, LeaveNumbersThatAreNotFiniteOutOfEverythingButTheirCounts) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  write_one<float>(DType::kF32, {std::nanf(""), 1, kInfinity, 3, -kInfinity, -std::nanf("")});

  const auto column = statistics(path_).columns.at(0);

  EXPECT_EQ(column.nans, 2);
  EXPECT_EQ(column.infinities, 2);
  EXPECT_EQ(column.overall->mean, 2);
  EXPECT_EQ(column.overall->deviation, 1);
  EXPECT_EQ(*column.largest, 3);
}

TEST_F(Statistics, OfNoFiniteNumberAreEmpty) {
  write_one<double>(DType::kF64, {std::nan(""), std::nan("")});

  const auto column = statistics(path_).columns.at(0);

  EXPECT_EQ(column.nans, 2);
  EXPECT_FALSE(column.smallest);
  EXPECT_FALSE(column.overall);
  EXPECT_THAT(column.quantiles, IsEmpty());
}

TEST_F(Statistics, OfOneValueHaveOneBin) {
  write_one<std::int64_t>(DType::kI64, {7, 7, 7});

  const auto column = statistics(path_).columns.at(0);

  EXPECT_EQ(column.overall->deviation, 0);
  EXPECT_THAT(column.histogram.counts, ElementsAre(3));
  EXPECT_EQ(column.quantiles.at(0), 7);
}

TEST_F(Statistics, KeepTheLastBitOfLargeIntegersApart) {
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  constexpr auto kLeast = std::numeric_limits<std::int64_t>::min();
  write_one<std::int64_t>(DType::kI64, {kMost, kLeast, 5, 6, 7});

  const auto column = statistics(path_).columns.at(0);

  EXPECT_EQ(*column.smallest, static_cast<double>(kLeast));
  EXPECT_EQ(column.quantiles.at(3), 6);
}

template <class T>
std::vector<T> mixture(std::mt19937_64& random, std::size_t count) {
  std::vector<T> values(count);
  for (auto& value : values) {
    const auto word = random();
    if constexpr (std::is_same_v<T, detail::Half>) {
      value.bits = static_cast<std::uint16_t>(word);
    } else if constexpr (std::is_floating_point_v<T>) {
      const auto unit = static_cast<T>(word >> 11) * static_cast<T>(0x1p-53);
      switch (word & 7) {
        case 0: value = 0; break;
        case 1: value = -unit * static_cast<T>(1e-3); break;
        case 2: value = std::bit_cast<T>(static_cast<detail::Key<T>>(word >> 3)); break;
        default: value = static_cast<T>(1000) + unit;
      }
      // Sums of the largest numbers would not be finite.
      if (std::abs(value) > static_cast<T>(1e30)) value = std::numeric_limits<T>::quiet_NaN();
    } else {
      value = static_cast<T>((word & 1) != 0 ? word >> 3 : word >> 3 & 7);
    }
  }
  return values;
}

TEST_F(Statistics, AreThoseOfSortedNumbersInEveryType) {
  std::mt19937_64 random(1);
  for (const std::size_t count : {std::size_t{1}, std::size_t{15}, std::size_t{5000}}) {
    for (const std::int64_t bins : {1, 64, 1000}) {
      compare_with_reference(DType::kU8, mixture<std::uint8_t>(random, count), bins);
      compare_with_reference(DType::kI8, mixture<std::int8_t>(random, count), bins);
      compare_with_reference(DType::kU16, mixture<std::uint16_t>(random, count), bins);
      compare_with_reference(DType::kI16, mixture<std::int16_t>(random, count), bins);
      compare_with_reference(DType::kU32, mixture<std::uint32_t>(random, count), bins);
      compare_with_reference(DType::kI32, mixture<std::int32_t>(random, count), bins);
      compare_with_reference(DType::kU64, mixture<std::uint64_t>(random, count), bins);
      compare_with_reference(DType::kI64, mixture<std::int64_t>(random, count), bins);
      compare_with_reference(DType::kF16, mixture<detail::Half>(random, count), bins);
      compare_with_reference(DType::kF32, mixture<float>(random, count), bins);
      compare_with_reference(DType::kF64, mixture<double>(random, count), bins);
    }
  }
}

RC_GTEST_FIXTURE_PROP(Statistics, AreThoseOfSortedFloats, (std::vector<float> values)) {
  RC_PRE(!values.empty());
  compare_with_reference(DType::kF32, values, 16);
}

RC_GTEST_FIXTURE_PROP(Statistics, AreThoseOfSortedIntegers, (std::vector<std::int32_t> values)) {
  RC_PRE(!values.empty());
  compare_with_reference(DType::kI32, values, 16);
}

TEST_F(Statistics, DoNotDependOnThreadsOrOnTheLayout) {
  constexpr std::int64_t kRows = 40'000;
  std::mt19937_64 random(2);
  std::vector<float> images(kRows * 2 * 3 * 4);
  for (auto& value : images) value = static_cast<float>(random() >> 40) * 0x1p-20f - 3;
  images[77] = std::nanf("");
  std::vector<std::int32_t> numbers(kRows * 9);
  for (auto& value : numbers) value = static_cast<std::int32_t>(random());
  std::vector<std::int64_t> labels(kRows);
  for (auto& label : labels) label = static_cast<std::int64_t>(random() % 5);
  std::vector<std::string> results;
  for (const auto layout : {ColumnLayout{}, ColumnLayout{.chunk_rows = 7000, .deflate = 1}}) {
    write([&](DatasetWriter& writer) {
      add_column(writer, "n", DType::kI32, {kRows, 9}, numbers, layout);
      add_column(writer, "x", DType::kF32, {kRows, 2, 3, 4}, images, layout);
      add_column(writer, "y", DType::kI64, {kRows}, labels, layout);
    });
    for (const int threads : {1, 2, 3, 7}) {
      results.push_back(to_json(statistics(
          path_, {.per_class = StatisticsOptions::PerClass::kInputs, .threads = threads})));
    }
  }

  for (const auto& result : results) EXPECT_EQ(result, results.front());
}

TEST_F(Statistics, OfImagesAreThoseOfEachChannelToo) {
  write_one<std::uint8_t>(DType::kU8, {0, 2, 100, 100, 4, 2, 200, 200}, {2, 2, 1, 2});

  const auto column = statistics(path_).columns.at(0);
  const auto scaling = input_scaling_of(column);

  ASSERT_EQ(column.channels.size(), 2U);
  EXPECT_EQ(column.channels[0].mean, 2);
  EXPECT_EQ(column.channels[0].deviation, std::sqrt(2.0));
  EXPECT_EQ(column.channels[1].mean, 150);
  EXPECT_EQ(column.channels[1].deviation, 50);
  EXPECT_DOUBLE_EQ(scaling[1].mean, 150.0 / 255);
  EXPECT_DOUBLE_EQ(scaling[1].deviation, 50.0 / 255);
}

TEST_F(Statistics, OfFloatImagesAreThoseOfEachChannelToo) {
  write_one<float>(DType::kF32, {0, 2, 5, 5, 4, 2, 5, 5}, {2, 2, 1, 2});

  const auto column = statistics(path_).columns.at(0);

  EXPECT_EQ(column.channels.at(0).mean, 2);
  EXPECT_EQ(column.channels.at(0).deviation, std::sqrt(2.0));
  EXPECT_EQ(column.channels.at(1).deviation, 0);
  EXPECT_EQ(column.overall->mean, 3.5);
  // A channel that never changes cannot be divided by its deviation.
  EXPECT_EQ(input_scaling_of(column).at(1).deviation, 1);
}

TEST_F(Statistics, CountTheRowsOfEachClass) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "x", DType::kF32, {4, 2}, {0, 2, 5, 5, 4, 2, 7, 9});
    add_column<std::int64_t>(writer, "y", DType::kI64, {4}, {3, -1, 3, 8});
  });

  const auto counts = statistics(path_).classes;
  const auto classes =
      statistics(path_, {.per_class = StatisticsOptions::PerClass::kInputs}).classes;

  ASSERT_EQ(counts.size(), 3U);
  EXPECT_EQ(counts[0].label, -1);
  EXPECT_EQ(counts[1].rows, 2);
  EXPECT_FALSE(counts[1].inputs);
  ASSERT_EQ(classes.size(), 3U);
  EXPECT_EQ(classes[1].label, 3);
  EXPECT_EQ(classes[1].rows, 2);
  EXPECT_EQ(classes[1].inputs->mean, 2);
  EXPECT_EQ(classes[1].inputs->deviation, std::sqrt(2.0));
  EXPECT_EQ(classes[2].inputs->mean, 8);
}

TEST_F(Statistics, SayWhatIsWrongWithAColumn) {
  write_one<float>(DType::kF32, {1, 2});

  EXPECT_THAT(tests::message_of<base::DataError>([&] { statistics(path_, {.columns = {"w"}}); }),
              HasSubstr("has no dataset 'w'"));
  EXPECT_THAT(tests::message_of<base::ConfigError>([&] { statistics(path_, {.bins = 0}); }),
              HasSubstr("a histogram of 0 bins"));
  EXPECT_THAT(tests::message_of<base::DataError>([&] {
                statistics(path_,
                           {.targets = "x", .per_class = StatisticsOptions::PerClass::kInputs});
              }),
              HasSubstr("dataset 'x' of '" + path_ + "' has no classes"));
}

TEST_F(Statistics, LeaveOutWhatIsNoNumberAndSaySo) {
  tests::OddColumn column;
  column.shape = {2};
  column.bytes = tests::bytes_of(std::vector<float>{1, 2});
  tests::OddFile(path_).add(column).add_strings("names", 2);

  const auto result = statistics(path_);

  EXPECT_EQ(result.columns.size(), 1U);
  EXPECT_THAT(result.notes, ElementsAre("dataset 'names' was left out (it holds string elements)"));
  EXPECT_THAT(
      tests::message_of<base::DataError>([&] { statistics(path_, {.columns = {"names"}}); }),
      HasSubstr("dataset 'names' of '" + path_ + "' holds string elements"));
}

/// Every file of a folder, by name.
std::map<std::string, std::vector<std::byte>> files_in(const std::string& directory) {
  std::map<std::string, std::vector<std::byte>> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    files[entry.path().string()] = tests::read_file(entry.path().string());
  }
  return files;
}

TEST_F(Statistics, AreKeptByFingerprintAndAreTheSameWhenTakenFromThere) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "x", DType::kF32, {3, 1, 1, 2}, {0, 0.1f, -5, 1e-30f, 4, 1e30f});
    add_column<std::int64_t>(writer, "y", DType::kI64, {3}, {0, 1, 0});
  });
  StatisticsOptions options;
  options.per_class = StatisticsOptions::PerClass::kInputs;
  options.cache_directory = directory_.file("cache");

  const auto first = to_json(statistics(path_, options));
  const auto kept = files_in(options.cache_directory);
  const auto second = to_json(statistics(path_, options));

  EXPECT_EQ(second, first);
  EXPECT_EQ(kept.size(), 1U);  // a file this young has no remembered fingerprint
  options.bins = 8;
  EXPECT_EQ(statistics(path_, options).columns.at(0).histogram.counts.size(), 8U);
}

TEST_F(Statistics, SurviveADamagedOrUnwritableCache) {
  write_one<float>(DType::kF32, {1, 2, 3});
  StatisticsOptions options;
  options.cache_directory = directory_.file("cache");
  const auto wanted = to_json(statistics(path_, options));
  const auto kept = files_in(options.cache_directory);
  ASSERT_EQ(kept.size(), 1U);
  const auto& [name, bytes] = *kept.begin();
  std::mt19937_64 random(3);

  for (int round = 0; round < 60; ++round) {
    auto damaged = bytes;
    if (round % 3 == 0) damaged.resize(random() % damaged.size());
    if (round % 3 != 0) damaged[random() % damaged.size()] ^= std::byte(1u << random() % 8);
    tests::write_file(name, damaged);

    ASSERT_EQ(to_json(statistics(path_, options)), wanted) << "round " << round;
  }

  tests::write_file(directory_.file("blocked"), {});
  options.cache_directory = directory_.file("blocked") + "/below";
  EXPECT_EQ(to_json(statistics(path_, options)), wanted);
}

}  // namespace
}  // namespace lockstep::data
