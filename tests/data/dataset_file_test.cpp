#include "data/dataset_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <numeric>
#include <thread>

#include "base/error.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::message_of;
using tests::OddColumn;
using tests::OddFile;
using tests::TemporaryDirectory;

constexpr std::int64_t kRows = 7;
constexpr std::int64_t kWidth = 3;

/// Element j of row i is 10 i + j.
template <class T>
std::vector<T> table() {
  std::vector<T> values;
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kWidth; ++j) values.push_back(static_cast<T>(10 * i + j));
  }
  return values;
}

OddColumn column_f32() {
  OddColumn column;
  column.dtype = DType::kF32;
  column.shape = {kRows, kWidth};
  column.bytes = tests::bytes_of(table<float>());
  return column;
}

std::vector<float> gather(DatasetFile& file, const std::vector<std::int64_t>& rows) {
  std::vector<float> out(rows.size() * kWidth);
  file.read_rows("x", rows, std::as_writable_bytes(std::span(out)));
  return out;
}

/// All ways a column can lie in a file.
std::vector<std::pair<std::string, OddColumn>> layouts() {
  std::vector<std::pair<std::string, OddColumn>> result;
  const auto add = [&](const std::string& name, auto change) {
    auto column = column_f32();
    change(column);
    result.emplace_back(name, column);
  };
  add("contiguous", [](OddColumn&) {});
  add("big-endian", [](OddColumn& c) { c.order = ByteOrder::kBigEndian; });
  add("chunks of rows", [](OddColumn& c) { c.chunk = {2, 3}; });
  add("chunks across rows", [](OddColumn& c) { c.chunk = {3, 2}; });
  add("one chunk", [](OddColumn& c) { c.chunk = {7, 3}; });
  add("deflated", [](OddColumn& c) {
    c.chunk = {2, 3};
    c.deflate = 6;
  });
  add("checksummed", [](OddColumn& c) {
    c.chunk = {4, 3};
    c.fletcher32 = true;
  });
  return result;
}

TEST(DatasetFile, ReadsTheSameRowsFromEveryLayout) {
  const TemporaryDirectory directory;
  const std::vector<std::int64_t> rows = {6, 0, 3, 4, 5, 3, 1};

  for (const auto& [name, column] : layouts()) {
    for (const std::size_t cache_bytes :
         {std::size_t{0}, std::size_t{4400}, std::size_t{1} << 20}) {
      OddFile(directory.file("f.h5")).add(column);
      DatasetFile file(directory.file("f.h5"), {.cache_bytes = cache_bytes});

      const auto out = gather(file, rows);

      std::vector<float> expected;
      for (const auto row : rows) {
        for (int j = 0; j < kWidth; ++j) expected.push_back(static_cast<float>(10 * row + j));
      }
      EXPECT_EQ(out, expected) << name << ", caches of " << cache_bytes << " bytes";
      EXPECT_NE(file.access_of("x"), RowAccess::kHdf5) << name;
    }
  }
}

RC_GTEST_PROP(DatasetFile, GathersAnyRowsInTheOrderAskedFor, ()) {
  const TemporaryDirectory directory;
  const auto all = layouts();
  const auto& column = all[*rc::gen::inRange<std::size_t>(0, all.size())].second;
  OddFile(directory.file("f.h5")).add(column);
  DatasetFile file(directory.file("f.h5"),
                   {.cache_bytes = *rc::gen::inRange<std::size_t>(0, 20'000)});
  const auto rows =
      *rc::gen::container<std::vector<std::int64_t>>(rc::gen::inRange<std::int64_t>(0, kRows));

  const auto out = gather(file, rows);

  for (std::size_t i = 0; i < rows.size(); ++i) {
    RC_ASSERT(out[i * kWidth + 2] == static_cast<float>(10 * rows[i] + 2));
  }
}

TEST(DatasetFile, ReadsContiguousRanges) {
  const TemporaryDirectory directory;
  for (const auto& [name, column] : layouts()) {
    OddFile(directory.file("f.h5")).add(column);
    DatasetFile file(directory.file("f.h5"));
    std::vector<float> out(4 * kWidth);

    file.read_rows("x", 2, 4, std::as_writable_bytes(std::span(out)));

    EXPECT_THAT(out, ElementsAre(20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52)) << name;
    EXPECT_NO_THROW(file.read_rows("x", 7, 0, {})) << name;
  }
}

template <class T>
void expect_round_trip(DType dtype) {
  const TemporaryDirectory directory;
  for (const auto order : {ByteOrder::kNative, ByteOrder::kBigEndian}) {
    OddColumn column;
    column.dtype = dtype;
    column.order = order;
    column.shape = {kRows, kWidth};
    column.bytes = tests::bytes_of(table<T>());
    OddFile(directory.file("f.h5")).add(column);
    DatasetFile file(directory.file("f.h5"));
    std::vector<T> out(kRows * kWidth);

    file.read_rows("x", 0, kRows, std::as_writable_bytes(std::span(out)));

    EXPECT_EQ(out, table<T>()) << name_of(dtype);
    EXPECT_EQ(file.column("x").dtype, dtype);
  }
}

TEST(DatasetFile, ReadsEveryNumberTypeInBothByteOrders) {
  expect_round_trip<std::uint8_t>(DType::kU8);
  expect_round_trip<std::int8_t>(DType::kI8);
  expect_round_trip<std::uint16_t>(DType::kU16);
  expect_round_trip<std::int16_t>(DType::kI16);
  expect_round_trip<std::uint32_t>(DType::kU32);
  expect_round_trip<std::int32_t>(DType::kI32);
  expect_round_trip<std::uint64_t>(DType::kU64);
  expect_round_trip<std::int64_t>(DType::kI64);
  expect_round_trip<std::uint16_t>(DType::kF16);
  expect_round_trip<float>(DType::kF32);
  expect_round_trip<double>(DType::kF64);
}

TEST(DatasetFile, DescribesItsColumns) {
  const TemporaryDirectory directory;
  auto column = column_f32();
  column.chunk = {2, 3};
  column.deflate = 4;
  column.fletcher32 = true;
  column.order = ByteOrder::kBigEndian;
  OddFile(directory.file("f.h5")).add(column).add_strings("names", 4).add_scalar("version");

  const DatasetFile file(directory.file("f.h5"));

  ASSERT_EQ(file.columns().size(), 3u);
  const auto& x = file.column("x");
  EXPECT_EQ(x.type_name, "big-endian f32");
  EXPECT_THAT(x.shape, ElementsAre(7, 3));
  EXPECT_THAT(x.chunk, ElementsAre(2, 3));
  EXPECT_THAT(x.filters, ElementsAre("deflate", "fletcher32"));
  EXPECT_EQ(x.row_bytes(), 12u);
  EXPECT_GT(file.stored_bytes("x"), 0u);
  EXPECT_EQ(file.column("names").dtype, DType::kUnsupported);
  EXPECT_EQ(file.column("names").type_name, "string");
  EXPECT_TRUE(file.column("version").shape.empty());
  EXPECT_EQ(file.rows(), 7);
}

TEST(DatasetFile, FindsColumnsInGroupsAndBehindSoftLinks) {
  const TemporaryDirectory directory;
  auto column = column_f32();
  column.name = "train/x";
  OddFile(directory.file("f.h5"))
      .add_group("train")
      .add(column)
      .add_soft_link("/train/x", "x")
      .add_soft_link("/nowhere", "dangling");

  DatasetFile file(directory.file("f.h5"));

  EXPECT_NE(file.find_column("train/x"), nullptr);
  EXPECT_EQ(file.find_column("dangling"), nullptr);
  EXPECT_THAT(gather(file, {1}), ElementsAre(10, 11, 12));
}

TEST(DatasetFile, SurvivesGroupsThatContainThemselves) {
  const TemporaryDirectory directory;
  OddFile(directory.file("f.h5")).add(column_f32()).add_group("g").add_hard_link("/", "g/up");

  EXPECT_NE(DatasetFile(directory.file("f.h5")).find_column("x"), nullptr);
}

TEST(DatasetFile, ReadsPastAUserBlock) {
  const TemporaryDirectory directory;
  OddFile(directory.file("f.h5"), tests::FileFormat::kOldest, 2048).add(column_f32());
  DatasetFile file(directory.file("f.h5"));

  EXPECT_EQ(file.access_of("x"), RowAccess::kMapped);
  EXPECT_THAT(gather(file, {2}), ElementsAre(20, 21, 22));
}

TEST(DatasetFile, ReadsFillValuesOfADatasetThatWasNeverWritten) {
  const TemporaryDirectory directory;
  auto column = column_f32();
  column.bytes.clear();
  OddFile(directory.file("f.h5")).add(column);
  DatasetFile file(directory.file("f.h5"));

  EXPECT_THAT(gather(file, {5}), ElementsAre(0, 0, 0));
}

TEST(DatasetFile, IsReadByManyThreadsThroughTheirOwnObjects) {
  const TemporaryDirectory directory;
  auto column = column_f32();
  column.chunk = {2, 3};
  column.deflate = 1;
  OddFile(directory.file("f.h5")).add(column);
  std::vector<std::thread> threads;
  std::array<bool, 4> correct{};

  for (std::size_t t = 0; t < correct.size(); ++t) {
    threads.emplace_back([&, t] {
      DatasetFile file(directory.file("f.h5"), {.cache_bytes = 0});
      bool all = true;
      for (int i = 0; i < 50; ++i) {
        all = all && gather(file, {i % kRows})[0] == static_cast<float>(10 * (i % kRows));
      }
      correct[t] = all;
    });
  }
  for (auto& thread : threads) thread.join();

  EXPECT_THAT(correct, ::testing::Each(true));
}

TEST(DatasetFile, GoesOnReadingWhenAnotherObjectOnTheSameFileCloses) {
  const TemporaryDirectory directory;
  auto column = column_f32();
  column.chunk = {2, 3};
  OddFile(directory.file("f.h5")).add(column);
  DatasetFile file(directory.file("f.h5"), {.cache_bytes = 0});
  gather(file, {0});

  {
    DatasetFile other(directory.file("f.h5"));
    gather(other, {1});
  }

  EXPECT_THAT(gather(file, {4}), ElementsAre(40, 41, 42));
}

TEST(DatasetFile, SaysThatAFileIsMissing) {
  EXPECT_THAT(message_of<base::DataError>([] { DatasetFile("no/such.h5"); }),
              AllOf(HasSubstr("data file 'no/such.h5' cannot be opened (No such file"),
                    HasSubstr("check the path")));
}

TEST(DatasetFile, RefusesDirectoriesAndPipes) {
  const TemporaryDirectory directory;
  ASSERT_EQ(::mkfifo(directory.file("pipe").c_str(), 0600), 0);

  for (const auto& path : {directory.path(), directory.file("pipe")}) {
    EXPECT_THAT(message_of<base::DataError>([&] { DatasetFile{path}; }),
                HasSubstr("is not a regular file"));
  }
}

TEST(DatasetFile, SaysThatAFileIsNotHdf5) {
  const TemporaryDirectory directory;
  tests::write_file(directory.file("f.csv"), tests::bytes_of(std::vector<char>{'a', ',', 'b'}));
  tests::write_file(directory.file("empty"), {});

  EXPECT_THAT(message_of<base::DataError>([&] { DatasetFile(directory.file("f.csv")); }),
              AllOf(HasSubstr("f.csv' is not HDF5 (3 B without an HDF5 signature)"),
                    HasSubstr("lockstep data import")));
  EXPECT_THAT(message_of<base::DataError>([&] { DatasetFile(directory.file("empty")); }),
              HasSubstr("is not HDF5"));
}

TEST(DatasetFile, SaysThatAFileWasCutShort) {
  const TemporaryDirectory directory;
  for (const auto format : {tests::FileFormat::kChecked, tests::FileFormat::kOldest}) {
    OddFile(directory.file("f.h5"), format).add(column_f32());
    auto bytes = tests::read_file(directory.file("f.h5"));
    bytes.resize(bytes.size() - 40);
    tests::write_file(directory.file("f.h5"), bytes);

    EXPECT_THAT(
        message_of<base::DataError>([&] { DatasetFile(directory.file("f.h5")); }),
        AllOf(HasSubstr("was cut short"), HasSubstr("truncated file"), HasSubstr("copy it again")));
  }
}

TEST(DatasetFile, SaysThatAFileShrankWhileItWasOpen) {
  const TemporaryDirectory directory;
  OddFile(directory.file("f.h5")).add(column_f32());
  DatasetFile file(directory.file("f.h5"));
  gather(file, {0});
  std::filesystem::resize_file(directory.file("f.h5"), 100);

  EXPECT_THAT(message_of<base::DataError>([&] { gather(file, {6}); }),
              HasSubstr("has become shorter"));
}

/// Bytes of a file that is cut while somebody looks at them: zeros and an error, not a signal.
TEST(DatasetFile, GivesNoValueOfAPageThatIsGone) {
  const TemporaryDirectory directory;
  const auto path = directory.file("f.h5");
  OddColumn column;
  column.dtype = DType::kU8;
  column.shape = {1000, 1000};
  column.bytes.assign(1'000'000, std::byte{7});
  OddFile(path).add(column);
  DatasetFile file(path);
  int cut = 0;
  int zeros = 0;

  const auto message = message_of<base::DataError>([&] {
    file.visit_rows("x", std::vector<std::int64_t>{0, 900},
                    [&](std::size_t place, const auto* row) {
                      if (place == 0) {
                        std::filesystem::resize_file(path, 10'000);
                        ++cut;
                      } else {
                        zeros += row[0] == std::byte{0} ? 1 : 0;
                      }
                    });
  });

  EXPECT_THAT(message, HasSubstr("has become shorter"));
  EXPECT_EQ(cut, 1);
  EXPECT_EQ(zeros, 1);
}

TEST(DatasetFile, ReportsAFlippedByteThatTheChecksumSees) {
  const TemporaryDirectory directory;
  OddColumn column;
  column.dtype = DType::kU8;
  column.shape = {64, 16};
  column.bytes.assign(std::size_t{64} * 16, std::byte{0x5a});
  column.chunk = {64, 16};
  column.fletcher32 = true;
  OddFile(directory.file("f.h5")).add(column);
  auto bytes = tests::read_file(directory.file("f.h5"));
  const std::vector<std::byte> run(200, std::byte{0x5a});
  const auto found = std::search(bytes.begin(), bytes.end(), run.begin(), run.end());
  ASSERT_NE(found, bytes.end());
  *found = std::byte{0x5b};
  tests::write_file(directory.file("f.h5"), bytes);
  DatasetFile file(directory.file("f.h5"));
  std::vector<std::byte> out(16);

  EXPECT_THAT(message_of<base::DataError>([&] { file.read_rows("x", 3, 1, out); }),
              AllOf(HasSubstr("dataset 'x' of"), HasSubstr("could not be read at row 0"),
                    HasSubstr("damaged")));
}

TEST(DatasetFile, NamesTheNearestColumnAndTheList) {
  const TemporaryDirectory directory;
  auto column = column_f32();
  column.name = "images";
  OddFile(directory.file("f.h5")).add(column).add_strings("names", 2);
  const DatasetFile file(directory.file("f.h5"));

  EXPECT_THAT(message_of<base::DataError>([&] { file.column("image"); }),
              AllOf(HasSubstr("has no dataset 'image' (it has: 'images', 'names')"),
                    HasSubstr("did you mean 'images'?")));
}

TEST(DatasetFile, NamesBothColumnsOfDifferentLength) {
  const TemporaryDirectory directory;
  DatasetWriter writer(directory.file("f.h5"));
  tests::add_column<std::uint8_t>(writer, "x", DType::kU8, {3, 2}, {1, 2, 3, 4, 5, 6});
  tests::add_column<std::uint8_t>(writer, "y", DType::kU8, {2}, {0, 1});
  writer.commit();
  const DatasetFile file(directory.file("f.h5"));

  EXPECT_THAT(message_of<base::DataError>([&] { file.rows(); }),
              AllOf(HasSubstr("datasets 'x' and 'y' of"), HasSubstr("have 3 and 2 rows")));
}

TEST(DatasetFile, RefusesToReadWhatIsNoNumber) {
  const TemporaryDirectory directory;
  OddFile(directory.file("f.h5")).add_strings("names", 4);
  DatasetFile file(directory.file("f.h5"));
  std::vector<std::byte> out;

  EXPECT_THAT(message_of<base::DataError>([&] { file.read_rows("names", 0, 0, out); }),
              AllOf(HasSubstr("dataset 'names' of"), HasSubstr("holds string elements")));
}

/// HDF5 1.10 divides by that length when it opens the dataset.
TEST(DatasetFile, RefusesChunksOfLengthZero) {
  const TemporaryDirectory directory;
  const auto path = directory.file("f.h5");
  OddColumn column;
  column.dtype = DType::kU8;
  column.shape = {7, 11};
  column.chunk = {5, 11};
  column.bytes.assign(77, std::byte{1});
  OddFile(path, tests::FileFormat::kOldest).add(column);
  auto bytes = tests::read_file(path);
  const auto lengths = tests::bytes_of(std::vector<std::uint32_t>{5, 11, 1});
  const auto found = std::search(bytes.begin(), bytes.end(), lengths.begin(), lengths.end());
  ASSERT_NE(found, bytes.end());
  *found = std::byte{0};
  tests::write_file(path, bytes);

  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(message_of<base::DataError>([&] { DatasetFile{path}; }),
                AllOf(HasSubstr("'/x' in"), HasSubstr("damaged")));
  }
  // HDF5 works on.
  OddFile(path).add(column);
  EXPECT_EQ(DatasetFile(path).rows(), 7);
}

TEST(DatasetFile, RefusesAShapeThatTheFileCannotHold) {
  const TemporaryDirectory directory;
  OddColumn column;
  column.dtype = DType::kU8;
  column.shape = {std::int64_t{1} << 40, 1 << 10};
  for (const auto& chunk : {std::vector<std::int64_t>{1, 1 << 10}, {}}) {
    column.chunk = chunk;
    OddFile(directory.file("f.h5")).add(column);

    EXPECT_THAT(message_of<base::DataError>([&] { DatasetFile(directory.file("f.h5")); }),
                AllOf(HasSubstr("dataset 'x' of"), HasSubstr("claims 1 PiB in a file of")));
  }
}

}  // namespace
}  // namespace lockstep::data
