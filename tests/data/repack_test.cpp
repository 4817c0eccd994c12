#include "data/repack.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "base/error.hpp"
#include "data/dataset_file.hpp"
#include "data/permutation.hpp"
#include "odd_attributes.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int64_t kRows = 500;

class Repack : public ::testing::Test {
 protected:
  Repack() {
    std::iota(inputs_.begin(), inputs_.end(), -100.f);
    std::iota(labels_.begin(), labels_.end(), 0);
    tests::OddColumn inputs;
    inputs.order = ByteOrder::kBigEndian;
    inputs.shape = {kRows, 3, 2};
    inputs.bytes = tests::bytes_of(inputs_);
    inputs.chunk = {7, 3, 1};
    inputs.deflate = 4;
    tests::OddColumn labels;
    labels.name = "group/y";
    labels.dtype = DType::kI64;
    labels.shape = {kRows};
    labels.bytes = tests::bytes_of(labels_);
    tests::OddFile(input_).add_group("group").add(inputs).add(labels).add_strings("names", kRows);
    options_.output = directory_.file("g.h5");
  }

  template <class T>
  std::vector<T> values_of(const std::string& column) {
    DatasetFile file(options_.output);
    const auto& info = file.column(column);
    std::vector<T> values(static_cast<std::size_t>(info.rows() * info.row_elements()));
    file.read_rows(column, 0, info.rows(), std::as_writable_bytes(std::span(values)));
    return values;
  }

  tests::TemporaryDirectory directory_;
  std::string input_ = directory_.file("f.h5");
  RepackOptions options_;
  std::vector<float> inputs_ = std::vector<float>(kRows * 6);
  std::vector<std::int64_t> labels_ = std::vector<std::int64_t>(kRows);
};

TEST_F(Repack, MakesColumnsThatAreReadPastHdf5) {
  const auto result = repack(input_, options_);

  EXPECT_EQ(values_of<float>("x"), inputs_);
  EXPECT_EQ(values_of<std::int64_t>("group/y"), labels_);
  const DatasetFile output(options_.output);
  EXPECT_EQ(output.access_of("x"), RowAccess::kMapped);
  EXPECT_EQ(output.column("x").type_name, "f32");
  EXPECT_THAT(result.notes, ElementsAre("dataset 'names' was left out (it holds string elements)"));
  ASSERT_EQ(result.columns.size(), 2U);
  EXPECT_EQ(result.columns[1].bytes_after, kRows * 6 * sizeof(float));
  EXPECT_LT(result.columns[1].bytes_before, result.columns[1].bytes_after);
  EXPECT_EQ(result.file_bytes_before, std::filesystem::file_size(input_));
}

TEST_F(Repack, MakesChunksOfTheWantedRows) {
  options_.layout = {.chunk_rows = 64, .deflate = 0};

  repack(input_, options_);

  EXPECT_THAT(DatasetFile(options_.output).column("x").chunk, ElementsAre(64, 3, 2));
  EXPECT_EQ(values_of<float>("x"), inputs_);
}

TEST_F(Repack, ChoosesChunksForCompressedRows) {
  options_.layout = {.chunk_rows = 0, .deflate = 5};

  repack(input_, options_);

  EXPECT_THAT(DatasetFile(options_.output).column("x").filters, ElementsAre("shuffle", "deflate"));
  EXPECT_EQ(values_of<float>("x"), inputs_);
}

TEST_F(Repack, BringsTheRowsOfAllColumnsIntoTheSameOrder) {
  options_.shuffle_seed = 5;

  repack(input_, options_);

  const Permutation order(kRows, 5, 0, Shuffle::kOn);
  const auto inputs = values_of<float>("x");
  const auto labels = values_of<std::int64_t>("group/y");
  for (std::int64_t row = 0; row < kRows; ++row) {
    ASSERT_EQ(labels[static_cast<std::size_t>(row)], order.at(row));
    ASSERT_EQ(inputs[static_cast<std::size_t>(6 * row)],
              inputs_[static_cast<std::size_t>(6 * order.at(row))]);
  }
}

TEST_F(Repack, KeepsAttributesOfTheFileAndOfItsDatasets) {
  tests::add_odd_attributes(input_, "/");
  tests::add_odd_attributes(input_, "group/y");

  const auto result = repack(input_, options_);

  const auto carried =
      ElementsAre("empty: nothing", "numbers: big-endian 1 2 3", "words: some longer words");
  EXPECT_THAT(tests::attributes_of(options_.output, "/"), carried);
  EXPECT_THAT(tests::attributes_of(options_.output, "group/y"), carried);
  EXPECT_THAT(tests::attributes_of(options_.output, "x"), IsEmpty());
  EXPECT_THAT(result.notes,
              ElementsAre(HasSubstr("'names' was left out"),
                          AllOf(HasSubstr("attribute 'points' of data file"),
                                HasSubstr("was left out (it refers to objects of that file)")),
                          HasSubstr("attribute 'points' of dataset 'group/y' of")));
}

TEST_F(Repack, NamesAFolderThatDoesNotExistBeforeItReads) {
  options_.output = directory_.file("missing/g.h5");

  EXPECT_THAT(tests::message_of<base::ConfigError>([&] { repack("no such input", options_); }),
              HasSubstr("there is no folder"));
}

TEST_F(Repack, LeavesNoOutputWhenTheInputIsDamaged) {
  auto bytes = tests::read_file(input_);
  for (std::size_t i = bytes.size() / 2; i < bytes.size() / 2 + 300; ++i) bytes[i] = std::byte{7};
  tests::write_file(input_, bytes);

  EXPECT_THROW(repack(input_, options_), base::DataError);

  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
    names.push_back(entry.path().filename().string());
  }
  EXPECT_THAT(names, ElementsAre("f.h5"));
}

TEST_F(Repack, RefusesToWriteOverItsInput) {
  options_.output = directory_.path() + "/./f.h5";

  EXPECT_THAT(tests::message_of<base::ConfigError>([&] { repack(input_, options_); }),
              HasSubstr("is the input itself"));
}

TEST_F(Repack, RefusesToShuffleColumnsOfDifferentLengths) {
  DatasetWriter writer(input_);
  tests::add_column<float>(writer, "x", DType::kF32, {2}, {1, 2});
  tests::add_column<float>(writer, "y", DType::kF32, {3}, {1, 2, 3});
  writer.commit();
  EXPECT_THAT(repack(input_, options_).notes, IsEmpty());

  options_.shuffle_seed = 1;

  EXPECT_THAT(tests::message_of<base::DataError>([&] { repack(input_, options_); }),
              HasSubstr("have 2 and 3 rows"));
}

}  // namespace
}  // namespace lockstep::data
