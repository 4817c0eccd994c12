#include "data/dataset_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "data/dataset_file.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::add_column;
using tests::message_of;
using tests::TemporaryDirectory;

std::size_t files_in(const std::string& path) {
  const std::filesystem::directory_iterator files(path);
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

TEST(DatasetWriter, WritesRowsInAnyOrderOfBlocks) {
  const TemporaryDirectory directory;
  DatasetWriter writer(directory.file("f.h5"));
  const std::vector<std::int16_t> first = {1, 2};
  const std::vector<std::int16_t> rest = {3, 4, 5, 6};
  writer.add_column("x", DType::kI16, std::vector<std::int64_t>{3, 2});
  writer.write_rows("x", 1, 2, std::as_bytes(std::span(rest)));
  writer.write_rows("x", 0, 1, std::as_bytes(std::span(first)));
  writer.commit();
  DatasetFile file(directory.file("f.h5"));
  std::vector<std::int16_t> out(6);

  file.read_rows("x", 0, 3, std::as_writable_bytes(std::span(out)));

  EXPECT_THAT(out, ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(file.access_of("x"), RowAccess::kMapped);
}

TEST(DatasetWriter, SwapsBigEndianElements) {
  const TemporaryDirectory directory;
  DatasetWriter writer(directory.file("f.h5"));
  const std::vector<std::uint8_t> bytes = {0x01, 0x02};
  writer.add_column("x", DType::kU16, std::vector<std::int64_t>{1});
  writer.write_rows("x", 0, 1, std::as_bytes(std::span(bytes)), ByteOrder::kBigEndian);
  writer.commit();
  DatasetFile file(directory.file("f.h5"));
  std::vector<std::uint16_t> out(1);

  file.read_rows("x", 0, 1, std::as_writable_bytes(std::span(out)));

  EXPECT_EQ(out[0], 0x0102);
}

TEST(DatasetWriter, AppliesTheLayoutAskedFor) {
  const TemporaryDirectory directory;
  DatasetWriter writer(directory.file("f.h5"));
  add_column<std::uint8_t>(writer, "x", DType::kU8, {4, 2}, {1, 2, 3, 4, 5, 6, 7, 8},
                           {.chunk_rows = 3, .deflate = 5});
  writer.commit();

  const auto column = DatasetFile(directory.file("f.h5")).column("x");

  EXPECT_THAT(column.chunk, ElementsAre(3, 2));
  EXPECT_THAT(column.filters, ElementsAre("shuffle", "deflate"));
}

TEST(DatasetWriter, ShowsNothingUnderTheNameBeforeCommit) {
  const TemporaryDirectory directory;
  DatasetWriter writer(directory.file("f.h5"));
  add_column<std::uint8_t>(writer, "x", DType::kU8, {1, 1}, {1});

  EXPECT_FALSE(std::filesystem::exists(directory.file("f.h5")));
  writer.commit();
  EXPECT_TRUE(std::filesystem::exists(directory.file("f.h5")));
  EXPECT_EQ(files_in(directory.path()), 1u);
}

TEST(DatasetWriter, LeavesTheOlderFileWhenItIsGivenUp) {
  const TemporaryDirectory directory;
  tests::write_file(directory.file("f.h5"), tests::bytes_of(std::vector<char>{'o', 'l', 'd'}));
  {
    DatasetWriter writer(directory.file("f.h5"));
    add_column<std::uint8_t>(writer, "x", DType::kU8, {1, 1}, {1});
  }

  EXPECT_EQ(std::filesystem::file_size(directory.file("f.h5")), 3u);
  EXPECT_EQ(files_in(directory.path()), 1u);
}

TEST(DatasetWriter, WritesTheSameBytesForTheSameCalls) {
  const TemporaryDirectory directory;
  for (const auto* name : {"a.h5", "b.h5"}) {
    DatasetWriter writer(directory.file(name));
    add_column<std::uint8_t>(writer, "x", DType::kU8, {2, 2}, {1, 2, 3, 4}, {.chunk_rows = 1});
    writer.set_attribute("made_by", "a test");
    writer.commit();
  }

  EXPECT_EQ(tests::read_file(directory.file("a.h5")), tests::read_file(directory.file("b.h5")));
}

TEST(DatasetWriter, SaysWhereItCannotWrite) {
  EXPECT_THAT(message_of<base::ConfigError>([] { DatasetWriter("/no/such/place/f.h5"); }),
              AllOf(HasSubstr("output '/no/such/place/f.h5' cannot be made"),
                    HasSubstr("there is no folder '/no/such/place'")));
  const TemporaryDirectory directory;
  EXPECT_THAT(message_of<base::ConfigError>([&] { DatasetWriter{directory.path()}; }),
              HasSubstr("is a directory"));
}

TEST(DatasetWriter, RefusesRowsThatDoNotFit) {
  const TemporaryDirectory directory;
  DatasetWriter writer(directory.file("f.h5"));
  const std::vector<std::byte> two(2);
  writer.add_column("x", DType::kU8, std::vector<std::int64_t>{2, 1});

  EXPECT_THROW(writer.write_rows("x", 1, 2, two), base::InternalError);
  EXPECT_THROW(writer.write_rows("x", 0, 1, two), base::InternalError);
  EXPECT_THROW(writer.write_rows("z", 0, 2, two), base::InternalError);
  EXPECT_THROW(writer.add_column("y", DType::kU8, std::vector<std::int64_t>{0}),
               base::InternalError);
  EXPECT_THROW(writer.add_column("y", DType::kU8, std::vector<std::int64_t>{2}, {.deflate = 1}),
               base::InternalError);
}

/// Ends the process with 0 when a full disk ends in an IoError and leaves nothing behind.
[[noreturn]] void write_beyond_the_limit(const std::string& directory) {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{1 << 20, 1 << 20};
  if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) std::_Exit(2);
  try {
    DatasetWriter writer(directory + "/f.h5");
    const std::vector<std::byte> bytes(std::size_t{4} << 20);
    writer.add_column("x", DType::kU8,
                      std::vector<std::int64_t>{static_cast<std::int64_t>(bytes.size())});
    writer.write_rows("x", 0, static_cast<std::int64_t>(bytes.size()), bytes);
    writer.commit();
  } catch (const base::IoError& error) {
    const bool explained =
        std::string(error.what()).find("check the free space") != std::string::npos;
    std::_Exit(explained && files_in(directory) == 0 ? 0 : 3);
  }
  std::_Exit(4);
}

TEST(DatasetWriter, LeavesNothingOfKilledWritersWhenToldSo) {
  const TemporaryDirectory directory;
  for (const char* name : {".f.h5.tmp-12", ".f.h5.tmp-", ".f.h5.tmp-1a", ".g.h5.tmp-12", "f.h5"}) {
    base::FileSystem::posix().open(directory.file(name), base::OpenMode::kCreate);
  }

  remove_unfinished(directory.file("f.h5"));

  EXPECT_THAT(base::FileSystem::posix().list(directory.path()),
              ElementsAre(".f.h5.tmp-", ".f.h5.tmp-1a", ".g.h5.tmp-12", "f.h5"));
}

TEST(DatasetWriterDeathTest, EndsInAnErrorAndLeavesNothingWhenTheDiskIsFull) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const TemporaryDirectory directory;

  EXPECT_EXIT(write_beyond_the_limit(directory.path()), ::testing::ExitedWithCode(0), "");
}

TEST(DatasetWriter, ShowsTheCompleteFileToAnInspectionThatMayRefuseIt) {
  const TemporaryDirectory directory;
  const auto path = directory.file("f.h5");
  {
    DatasetWriter writer(path);
    add_column<float>(writer, "group/x", DType::kF32, {2}, {1, 2});

    EXPECT_THROW(writer.commit([&](const std::string& written) {
      EXPECT_EQ(DatasetFile(written).column("group/x").rows(), 2);
      EXPECT_FALSE(std::filesystem::exists(path));
      throw base::DataError("no");
    }),
                 base::DataError);
  }

  EXPECT_EQ(files_in(directory.path()), 0U);
}

}  // namespace
}  // namespace lockstep::data
