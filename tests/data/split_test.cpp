#include "data/split.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <filesystem>
#include <map>
#include <numeric>

#include "base/error.hpp"
#include "data/dataset_file.hpp"
#include "odd_attributes.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::SizeIs;
using tests::add_column;
using tests::message_of;

using Numbers = std::vector<std::int64_t>;

/// Positive fractions that sum to 1.
std::vector<SplitPart> parts_of(const std::vector<int>& weights) {
  std::vector<SplitPart> parts;
  const double sum = std::accumulate(weights.begin(), weights.end(), 0);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    parts.push_back({"p" + std::to_string(i), weights[i] / sum});
  }
  return parts;
}

class Split : public ::testing::Test {
 protected:
  void write(const Numbers& labels) {
    const auto rows = static_cast<std::int64_t>(labels.size());
    std::vector<float> inputs(labels.size() * 2);
    std::iota(inputs.begin(), inputs.end(), 0.f);
    DatasetWriter writer(path_);
    add_column(writer, "x", DType::kF32, {rows, 2}, inputs);
    add_column(writer, "y", DType::kI64, {rows}, labels);
    writer.commit();
  }
  SplitResult run(std::vector<SplitPart> parts, const std::string& stratify = {},
                  std::uint64_t seed = 1) {
    return split(path_, {.parts = std::move(parts),
                         .stratify = stratify,
                         .seed = seed,
                         .output_prefix = directory_.file("s")});
  }
  template <class T>
  static std::vector<T> read(const std::string& path, const std::string& name) {
    DatasetFile file(path);
    const auto& column = file.column(name);
    std::vector<T> values(static_cast<std::size_t>(column.rows() * column.row_elements()));
    file.read_rows(name, 0, column.rows(), std::as_writable_bytes(std::span(values)));
    return values;
  }
  /// The original row numbers in a part; every column must agree on them.
  Numbers rows_of(const std::string& path, const Numbers& labels) {
    const auto inputs = read<float>(path, "x");
    const auto found = read<std::int64_t>(path, "y");
    Numbers rows;
    for (std::size_t i = 0; i < found.size(); ++i) {
      rows.push_back(static_cast<std::int64_t>(inputs[2 * i]) / 2);
      EXPECT_EQ(inputs[2 * i + 1], inputs[2 * i] + 1);
      EXPECT_EQ(found[i], labels.at(static_cast<std::size_t>(rows.back())));
    }
    return rows;
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  tests::TemporaryDirectory directory_;
  std::string path_ = directory_.file("f.h5");
};

TEST(SplitCounts, AreTheExactSharesWhereThereAreSome) {
  std::vector<double> owed(3, 0);

  EXPECT_THAT(split_counts(30, parse_split_parts("a=0.8,b=0.1,c=0.1"), owed),
              ElementsAre(24, 3, 3));
}

TEST(SplitCounts, MakeGoodInTheNextStratumWhatOnePartIsOwed) {
  const auto parts = parse_split_parts("a=0.8,b=0.1,c=0.1");
  std::vector<double> owed(3, 0);

  EXPECT_THAT(split_counts(5, parts, owed), ElementsAre(4, 1, 0));
  EXPECT_THAT(split_counts(5, parts, owed), ElementsAre(4, 0, 1));
}

RC_GTEST_PROP(SplitCounts, DifferFromTheShareByLessThanOne, ()) {
  const auto weights = *rc::gen::container<std::vector<int>>(rc::gen::inRange(1, 100));
  RC_PRE(!weights.empty() && weights.size() <= 64U);
  const auto parts = parts_of(weights);
  std::vector<double> owed(parts.size(), 0);

  for (const auto count : *rc::gen::container<Numbers>(rc::gen::inRange(0, 5000))) {
    const auto counts = split_counts(count, parts, owed);

    RC_ASSERT(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) == count);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto share = static_cast<double>(count) * parts[i].fraction;
      RC_ASSERT(std::abs(static_cast<double>(counts[i]) - share) < 1);
    }
  }
}

TEST_F(Split, IsDisjointCompleteAscendingAndStratified) {
  std::uint64_t state = 7;
  for (const std::vector<int>& weights : {std::vector<int>{8, 1, 1}, {1}, {3, 3, 1, 7}}) {
    Numbers labels(400);
    for (auto& label : labels) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      label = static_cast<std::int64_t>(state >> 61) - 2;
    }
    write(labels);
    for (const std::string& stratify : {std::string(), std::string("y")}) {
      const auto parts = parts_of(weights);
      const auto result = run(parts, stratify);
      Numbers all;
      std::map<std::int64_t, double> of_class;
      for (const auto label : labels) of_class[label] += 1;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const auto rows = rows_of(result.parts[i].path, labels);
        EXPECT_EQ(result.parts[i].rows, static_cast<std::int64_t>(rows.size()));
        EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end()));
        all.insert(all.end(), rows.begin(), rows.end());
        if (stratify.empty()) continue;
        for (const auto& [label, count] : of_class) {
          const auto mine = std::count_if(rows.begin(), rows.end(), [&, wanted = label](auto row) {
            return labels[static_cast<std::size_t>(row)] == wanted;
          });
          EXPECT_LT(std::abs(static_cast<double>(mine) - count * parts[i].fraction), 1);
        }
      }
      std::sort(all.begin(), all.end());
      Numbers wanted(labels.size());
      std::iota(wanted.begin(), wanted.end(), 0);
      EXPECT_EQ(all, wanted);
    }
  }
}

TEST_F(Split, IsAFunctionOfItsSeed) {
  const Numbers labels(100, 0);
  write(labels);
  const auto parts = parse_split_parts("a=0.5,b=0.5");
  const auto rows = [&](std::uint64_t seed) {
    return rows_of(run(parts, "", seed).parts[0].path, labels);
  };

  EXPECT_EQ(rows(1), rows(1));
  EXPECT_NE(rows(1), rows(2));
}

TEST_F(Split, CutsTokensIntoRuns) {
  std::vector<std::uint16_t> tokens(1000);
  std::iota(tokens.begin(), tokens.end(), std::uint16_t{0});
  DatasetWriter writer(path_);
  add_column(writer, "tokens", DType::kU16, {1000}, tokens);
  writer.commit();

  const auto result = run(parse_split_parts("train=0.9,test=0.1"));

  const auto test = read<std::uint16_t>(result.parts[1].path, "tokens");
  ASSERT_THAT(test, SizeIs(100));
  EXPECT_EQ(test.front(), 900);
  EXPECT_EQ(test.back(), 999);
}

TEST_F(Split, RefusesOrDropsWhatIsNoNumber) {
  tests::OddColumn column;
  column.shape = {10};
  column.bytes = tests::bytes_of(std::vector<float>(10, 1));
  tests::OddFile(path_).add(column).add_strings("names", 10);
  SplitOptions options{.parts = parse_split_parts("a=0.5,b=0.5"),
                       .output_prefix = directory_.file("s")};

  EXPECT_THAT(message_of<base::DataError>([&] { split(path_, options); }),
              HasSubstr("dataset 'names' of '" + path_ + "' holds string elements"));
  EXPECT_THAT(files(), ElementsAre("f.h5"));
  options.unreadable = SplitOptions::Unreadable::kDrop;
  EXPECT_THAT(split(path_, options).notes, SizeIs(1));
}

TEST_F(Split, LeavesNothingBehindWhenItFails) {
  write({0, 1, 2});
  EXPECT_THAT(message_of<base::ConfigError>([&] { run(parse_split_parts("a=0.9,b=0.1")); }),
              HasSubstr("part 'b' would be empty"));
  EXPECT_THAT(message_of<base::DataError>([&] { run(parse_split_parts("a=1"), "x"); }),
              HasSubstr("dataset 'x' of '" + path_ + "' cannot be stratified by"));
  EXPECT_THAT(files(), ElementsAre("f.h5"));
}

TEST(SplitParts, AreRefusedWhenTheyMakeNoSense) {
  EXPECT_THAT(message_of<base::ConfigError>([] { parse_split_parts("train"); }),
              HasSubstr("parts 'train' cannot be read at 'train'"));
  EXPECT_THAT(message_of<base::ConfigError>([] { parse_split_parts("a=0.5,b=0.4"); }),
              HasSubstr("sum to 0.900000"));
  EXPECT_THAT(message_of<base::ConfigError>([] { parse_split_parts("a=0.5,a=0.5"); }),
              HasSubstr("part 'a' cannot be made"));
  EXPECT_THAT(message_of<base::ConfigError>([] { parse_split_parts("a=-0.5,b=1.5"); }),
              HasSubstr("has the fraction -0.5"));
  EXPECT_THAT(message_of<base::ConfigError>([] { parse_split_parts(""); }), HasSubstr("sum to 0"));
}

TEST_F(Split, KeepsAttributesAndAddsItsOwn) {
  write(Numbers(10, 0));
  tests::add_odd_attributes(path_, "/");
  tests::add_odd_attributes(path_, "x");
  const auto first = run({{"a", 0.5}, {"b", 0.5}});

  // A part that is split again says what it is now.
  const auto result = split(first.parts[0].path, {.parts = {{"c", 0.4}, {"d", 0.6}},
                                                  .output_prefix = directory_.file("s")});

  EXPECT_THAT(first.notes, SizeIs(2));
  EXPECT_THAT(tests::attributes_of(result.parts[1].path, "/"),
              IsSupersetOf({"numbers: big-endian 1 2 3", "words: some longer words",
                            "split_part: d", "split_fractions: c=0.4,d=0.6"}));
  EXPECT_THAT(
      tests::attributes_of(result.parts[1].path, "x"),
      ElementsAre("empty: nothing", "numbers: big-endian 1 2 3", "words: some longer words"));
}

TEST_F(Split, NamesAFolderThatDoesNotExistBeforeItReads) {
  EXPECT_THAT(message_of<base::ConfigError>([&] {
                split("no such input", {.parts = {{"a", 0.5}, {"b", 0.5}},
                                        .output_prefix = directory_.file("missing/s")});
              }),
              HasSubstr("there is no folder"));
}

}  // namespace
}  // namespace lockstep::data
