// Chunk indexes: what HDF5 tells, and what is kept between processes.

#include "data/chunk_index.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "data/dataset_file.hpp"
#include "odd_files.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data::detail {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kRows = 3000;
constexpr std::chrono::seconds kAtOnce{0};

class ChunkIndexTest : public ::testing::Test {
 protected:
  ChunkIndexTest() { write(0); }

  /// One row a chunk, so that the index is large enough to be kept.
  void write(float first) {
    DatasetWriter writer(path_);
    std::vector<float> values(kRows);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i);
    tests::add_column<float>(writer, "x", DType::kF32, {kRows, 1}, values,
                             {.chunk_rows = 1, .deflate = 1});
    writer.commit();
  }

  float value(std::int64_t row) {
    DatasetFile file(path_, {.cache_directory = folder_});
    std::vector<float> out(1);
    file.read_rows("x", row, 1, std::as_writable_bytes(std::span(out)));
    return out[0];
  }

  ChunkIndex index_of(std::uint64_t offset) const {
    ChunkIndex index(2000);
    for (std::size_t i = 0; i < index.size(); ++i) {
      index[i] = {offset + i, static_cast<std::uint32_t>(i % 7), static_cast<std::uint32_t>(i % 3)};
    }
    return index;
  }

  std::vector<fs::path> entries() const {
    std::vector<fs::path> found;
    if (!fs::exists(folder_)) return found;
    for (const auto& entry : fs::directory_iterator(folder_)) found.push_back(entry.path());
    return found;
  }

  tests::TemporaryDirectory directory_;
  std::string path_ = directory_.file("f.h5");
  std::string folder_ = directory_.file("cache/chunks");
};

TEST_F(ChunkIndexTest, GivesBackWhatItKept) {
  const FileDescriptor file(path_);
  const ChunkIndexCache cache(folder_, kAtOnce);
  const auto index = index_of(100);
  EXPECT_FALSE(cache.find(file, "x", index.size()));

  cache.keep(file, "x", index);

  EXPECT_EQ(cache.find(file, "x", index.size()), index);
  EXPECT_FALSE(cache.find(file, "y", index.size()));
  EXPECT_FALSE(cache.find(file, "x", index.size() + 1));
  EXPECT_FALSE(ChunkIndexCache("").find(file, "x", index.size()));
}

TEST_F(ChunkIndexTest, ForgetsWhenTheFileChanged) {
  {
    const FileDescriptor file(path_);
    ChunkIndexCache(folder_, kAtOnce).keep(file, "x", index_of(100));
  }
  write(7);

  const FileDescriptor file(path_);

  EXPECT_FALSE(ChunkIndexCache(folder_).find(file, "x", 2000));
}

TEST_F(ChunkIndexTest, KeepsNothingOfAFileThatJustChanged) {
  const FileDescriptor file(path_);

  ChunkIndexCache(folder_).keep(file, "x", index_of(100));

  EXPECT_TRUE(entries().empty());
}

// It once made room by the alphabet, among whatever else lay in the folder.
TEST_F(ChunkIndexTest, LeavesOtherFilesOfTheFolderAlone) {
  fs::create_directories(folder_);
  for (int i = 0; i < 300; ++i) {
    tests::write_file(folder_ + "/" + std::to_string(i) + ".json", {});
    tests::write_file(folder_ + "/" + std::to_string(i) + ".chunks", {});
  }
  const FileDescriptor file(path_);
  const ChunkIndexCache cache(folder_, kAtOnce);

  cache.keep(file, "x", index_of(100));

  const auto left = entries();
  EXPECT_EQ(std::count_if(left.begin(), left.end(),
                          [](const fs::path& path) { return path.extension() == ".json"; }),
            300);
  EXPECT_EQ(left.size(), 300u + 256u);
  EXPECT_EQ(cache.find(file, "x", 2000), index_of(100));
}

TEST_F(ChunkIndexTest, TakesNoDamagedEntry) {
  const FileDescriptor file(path_);
  const ChunkIndexCache cache(folder_, kAtOnce);
  cache.keep(file, "x", index_of(100));
  ASSERT_EQ(entries().size(), 1u);
  const auto original = tests::read_file(entries()[0]);

  for (std::size_t place = 0; place < original.size(); place += 97) {
    auto bytes = original;
    bytes[place] ^= std::byte{4};
    tests::write_file(entries()[0], bytes);
    EXPECT_FALSE(cache.find(file, "x", 2000)) << "byte " << place;
  }
  tests::write_file(entries()[0], std::span(original).first(50));
  EXPECT_FALSE(cache.find(file, "x", 2000));
}

TEST_F(ChunkIndexTest, TakesNoPlaceBeyondTheFile) {
  const FileDescriptor file(path_);
  const ChunkIndexCache cache(folder_, kAtOnce);

  cache.keep(file, "x", index_of(1 << 30));

  EXPECT_FALSE(cache.find(file, "x", 2000));
}

TEST_F(ChunkIndexTest, AFolderThatCannotBeMadeIsNoError) {
  tests::write_file(directory_.file("cache"), {});
  const FileDescriptor file(path_);

  ChunkIndexCache(folder_, kAtOnce).keep(file, "x", index_of(100));

  EXPECT_EQ(value(2999), 2999);
}

TEST_F(ChunkIndexTest, IsReadOnceAndThenFoundByEveryProcess) {
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));  // until the file is settled
  EXPECT_EQ(value(5), 5);
  ASSERT_EQ(entries().size(), 1u);
  const auto kept = fs::last_write_time(entries()[0]);

  EXPECT_EQ(value(2999), 2999);
  EXPECT_EQ(fs::last_write_time(entries()[0]), kept);
}

}  // namespace
}  // namespace lockstep::data::detail
