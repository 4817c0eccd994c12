#include "data/inspect.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "data/fingerprint.hpp"
#include "odd_files.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using tests::add_column;

class Inspect : public ::testing::Test {
 protected:
  template <class Add>
  void write(const Add& add) {
    DatasetWriter writer(path_);
    add(writer);
    writer.commit();
  }

  void write_images() {
    write([](DatasetWriter& writer) {
      add_column<std::uint8_t>(writer, "x", DType::kU8, {4, 1, 2}, {3, 5, 7, 9, 11, 13, 15, 200});
      add_column<std::int64_t>(writer, "y", DType::kI64, {4}, {0, 2, 2, 0});
    });
  }

  tests::TemporaryDirectory directory_;
  std::string path_ = directory_.file("f.h5");
};

TEST_F(Inspect, CountsLabelsAndFindsTheExtremes) {
  write_images();

  const auto summary = inspect(path_);

  EXPECT_EQ(summary.kind, TaskKind::kClassification);
  EXPECT_EQ(summary.samples, 4);
  EXPECT_EQ(summary.classes, 3);
  EXPECT_THAT(summary.label_counts, ElementsAre(2, 0, 2));
  EXPECT_EQ(summary.smallest_input, 3);
  EXPECT_EQ(summary.largest_input, 200);
  EXPECT_EQ(summary.fingerprint, fingerprint(path_));
  EXPECT_THAT(summary.advice, IsEmpty());
}

TEST_F(Inspect, ReadsTheHeadersOnlyWhenAsked) {
  write_images();

  const auto summary = inspect(path_, {.scan = Scan::kHeaders});

  EXPECT_EQ(summary.samples, 4);
  EXPECT_THAT(summary.label_counts, IsEmpty());
  EXPECT_FALSE(summary.smallest_input);
  EXPECT_EQ(summary.fingerprint, "");
}

TEST_F(Inspect, PrintsAnAlignedTable) {
  write_images();

  const auto text = to_text(inspect(path_));

  EXPECT_THAT(text, HasSubstr("dataset  type  shape      chunk  filters  read    stored\n"
                              "x        u8    4 x 1 x 2  -      -        mapped     8 B\n"
                              "y        i64   4          -      -        mapped    32 B\n"));
  EXPECT_THAT(text, HasSubstr("\ntask         classification\n"
                              "samples      4\n"
                              "classes      3\n"
                              "labels       0: 2, 1: 0, 2: 2\n"
                              "inputs       3 to 200\n"
                              "fingerprint  " +
                              fingerprint(path_) + "\n"));
}

TEST_F(Inspect, PrintsJsonWithTheSameContent) {
  write_images();

  const auto json = nlohmann::json::parse(to_json(inspect(path_)));

  EXPECT_EQ(json["task"], "classification");
  EXPECT_EQ(json["samples"], 4);
  EXPECT_EQ(json["label_counts"], (std::vector{2, 0, 2}));
  EXPECT_EQ(json["inputs_max"], 200);
  EXPECT_EQ(json["columns"][0]["shape"], (std::vector{4, 1, 2}));
  EXPECT_EQ(json["columns"][0]["dtype"], "u8");
  EXPECT_EQ(json["fingerprint"], fingerprint(path_));
}

TEST_F(Inspect, CountsTokens) {
  write([](DatasetWriter& writer) {
    add_column<std::uint8_t>(writer, "tokens", DType::kU8, {5}, {1, 1, 0, 3, 1});
  });

  const auto summary = inspect(path_);

  EXPECT_EQ(summary.kind, TaskKind::kTokens);
  EXPECT_EQ(summary.samples, 5);
  EXPECT_EQ(summary.classes, 256);
  EXPECT_EQ(summary.label_counts[1], 3);
  EXPECT_THAT(to_text(summary),
              AllOf(HasSubstr("tokens       5\n"), HasSubstr("vocabulary   256\n")));
}

TEST_F(Inspect, SaysWhyAFileCannotBeTrainedOn) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "x", DType::kF32, {2, 1}, {1, 2});
    add_column<std::int32_t>(writer, "y", DType::kI32, {2}, {0, -7});
  });

  const auto summary = inspect(path_);

  EXPECT_FALSE(summary.kind);
  EXPECT_THAT(summary.advice, ElementsAre(HasSubstr("has label -7 in row 1")));
  EXPECT_THAT(to_text(summary), AllOf(HasSubstr("task         none\n"), HasSubstr("note   ")));
  EXPECT_EQ(nlohmann::json::parse(to_json(summary))["task"], nullptr);
}

TEST_F(Inspect, CountsInputsThatAreNotFinite) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "x", DType::kF32, {3, 1},
                      {1, std::numeric_limits<float>::quiet_NaN(), 2});
    add_column<std::uint8_t>(writer, "y", DType::kU8, {3}, {0, 1, 0});
  });

  EXPECT_THAT(inspect(path_).advice, ElementsAre(HasSubstr("has 1 values that are not finite")));
}

TEST_F(Inspect, AdvisesAgainstLargeChunks) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "x", DType::kF32, {2048, 256},
                      std::vector<float>(std::size_t{2048} * 256, 1),
                      {.chunk_rows = 2048, .deflate = 1});
    add_column<std::uint8_t>(writer, "y", DType::kU8, {2048}, std::vector<std::uint8_t>(2048, 0));
  });

  EXPECT_THAT(inspect(path_, {.cache_bytes = 1 << 20}).advice,
              ElementsAre(HasSubstr("has chunks of 2048 rows, 2 MiB each")));
  // Decoded once, they are read from memory.
  EXPECT_THAT(inspect(path_).advice, IsEmpty());
}

TEST_F(Inspect, PrintsNamesThatAreNotUtf8) {
  tests::OddColumn column;
  column.name = "caf\xe9";
  column.shape = {1, 1};
  tests::OddFile(path_).add(column);

  EXPECT_NO_THROW(nlohmann::json::parse(to_json(inspect(path_))));
}

TEST_F(Inspect, OfAMissingFileIsAnError) { EXPECT_THROW(inspect(path_), base::DataError); }

}  // namespace
}  // namespace lockstep::data
