#include "data/verify.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/error.hpp"
#include "data/fingerprint.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using tests::add_column;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

class VerifyFile : public ::testing::Test {
 protected:
  /// 12 MiB of rows of 1 KiB, and some labels.
  void write_large() {
    std::vector<std::uint8_t> inputs(12 * kMiB);
    for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = static_cast<std::uint8_t>(i >> 7);
    DatasetWriter writer(path_);
    add_column(writer, "x", DType::kU8, {12 * 1024, 1024}, inputs);
    add_column(writer, "y", DType::kI64, {4}, std::vector<std::int64_t>{1, 2, 3, 4});
    writer.commit();
  }
  VerifyReport with_manifest(int threads = 2) {
    return verify(path_, {.manifest = manifest_path(path_), .threads = threads});
  }
  void flip(std::size_t place) {
    auto bytes = tests::read_file(path_);
    bytes.at(place) ^= std::byte{4};
    tests::write_file(path_, bytes);
  }

  tests::TemporaryDirectory directory_;
  std::string path_ = directory_.file("f.h5");
};

TEST_F(VerifyFile, ReadsEveryColumnOfAGoodFile) {
  write_large();

  const auto report = verify(path_);

  EXPECT_TRUE(report.is_good());
  ASSERT_THAT(report.columns, SizeIs(2));
  EXPECT_EQ(report.columns[0].bytes, 12 * kMiB);
  EXPECT_THAT(report.manifest, IsEmpty());
}

TEST_F(VerifyFile, ComparesWithTheManifestThatWasWritten) {
  write_large();
  write_manifest(manifest_path(path_), manifest_of(path_, 1));

  const auto manifest = read_manifest(manifest_path(path_));

  EXPECT_EQ(manifest.fingerprint, fingerprint(path_));
  EXPECT_EQ(manifest.file_bytes, tests::read_file(path_).size());
  EXPECT_TRUE(with_manifest().is_good());
}

TEST_F(VerifyFile, NamesDamagedBytesAndTheRowsThere) {
  write_large();
  write_manifest(manifest_path(path_), manifest_of(path_, 1));
  flip(5 * kMiB);

  for (const int threads : {1, 3}) {
    const auto report = with_manifest(threads);

    EXPECT_FALSE(report.is_good());
    ASSERT_THAT(report.damaged, SizeIs(1));
    EXPECT_EQ(report.damaged[0].begin, 4 * kMiB);
    EXPECT_EQ(report.damaged[0].end, 8 * kMiB);
    ASSERT_THAT(report.damaged[0].rows, SizeIs(1));
    EXPECT_EQ(report.damaged[0].rows[0].column, "x");
    // The elements start a page or so into the file, so the rows begin before 4 MiB / 1 KiB.
    EXPECT_LT(report.damaged[0].rows[0].begin, 4096U);
    EXPECT_GT(report.damaged[0].rows[0].begin, 4060U);
    EXPECT_LE(report.damaged[0].rows[0].end - report.damaged[0].rows[0].begin, 4097U);
  }
}

TEST_F(VerifyFile, TakesNeighbouringDamageAsOneRange) {
  write_large();
  write_manifest(manifest_path(path_), manifest_of(path_, 1));
  flip(5 * kMiB);
  flip(9 * kMiB);

  const auto report = with_manifest();

  ASSERT_THAT(report.damaged, SizeIs(1));
  EXPECT_EQ(report.damaged[0].begin, 4 * kMiB);
  EXPECT_EQ(report.damaged[0].end, 12 * kMiB);
}

TEST_F(VerifyFile, SaysThatAFileWasCutShort) {
  write_large();
  write_manifest(manifest_path(path_), manifest_of(path_, 1));
  auto bytes = tests::read_file(path_);
  bytes.resize(6 * kMiB);
  tests::write_file(path_, bytes);

  const auto report = with_manifest();

  EXPECT_FALSE(report.is_good());
  EXPECT_THAT(report.problem, HasSubstr("has 6,291,456 bytes, its manifest says"));
  ASSERT_THAT(report.damaged, SizeIs(1));
  EXPECT_EQ(report.damaged[0].begin, 4 * kMiB);
}

TEST_F(VerifyFile, FindsWhatAChecksumInTheFileTells) {
  tests::OddColumn column;
  column.shape = {1000, 8};
  column.bytes = tests::bytes_of(std::vector<float>(8000, 1.25f));
  column.chunk = {100, 8};
  column.fletcher32 = true;
  tests::OddFile(path_).add(column).add_strings("names", 3);
  EXPECT_TRUE(verify(path_).is_good());
  EXPECT_EQ(verify(path_).columns[0].state, ColumnCheck::State::kNotRead);

  // One element of a chunk in the middle of the file.
  auto bytes = tests::read_file(path_);
  flip(bytes.size() / 2);
  const auto report = verify(path_);

  EXPECT_FALSE(report.is_good());
  EXPECT_EQ(report.columns[1].state, ColumnCheck::State::kDamaged);
  EXPECT_THAT(report.columns[1].problem, HasSubstr("dataset 'x' of"));
}

TEST_F(VerifyFile, SaysThatAMissingFileIsMissing) {
  EXPECT_THAT(tests::message_of<base::DataError>([] { verify("no/such.h5"); }),
              HasSubstr("data file 'no/such.h5' cannot be opened"));
}

TEST_F(VerifyFile, RefusesADamagedManifest) {
  write_large();
  const auto path = manifest_path(path_);
  EXPECT_THAT(tests::message_of<base::DataError>([&] { read_manifest(path); }),
              HasSubstr("there is no such file"));
  write_manifest(path, manifest_of(path_, 1));
  const auto good = tests::read_file(path);
  const auto blocks = read_manifest(path).blocks;
  std::mt19937_64 random(1);
  int refused = 0;

  for (int round = 0; round < 200; ++round) {
    auto bytes = good;
    bytes[random() % bytes.size()] ^= static_cast<std::byte>(1u << random() % 8);
    if (round % 4 == 0) bytes.resize(random() % bytes.size());
    tests::write_file(path, bytes);
    try {
      // What is not noticed must not matter, as a space in the place of another.
      ASSERT_EQ(read_manifest(path).blocks, blocks) << "round " << round;
    } catch (const base::DataError&) {
      ++refused;
    }
  }

  EXPECT_GT(refused, 180);
}

}  // namespace
}  // namespace lockstep::data
