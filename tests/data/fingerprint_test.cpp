#include "data/fingerprint.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "data/file_descriptor.hpp"
#include "data/result_cache.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/fixed_clock.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kMiB = std::size_t{1} << 20;

std::vector<std::byte> pattern(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 2654435761u >> 13);
  return bytes;
}

/// The definition, written out once more.
std::string by_definition(std::span<const std::byte> bytes) {
  base::Sha256 digest;
  std::array<std::byte, 8> size{};
  for (std::size_t i = 0; i < 8; ++i) size[i] = static_cast<std::byte>(bytes.size() >> (8 * i));
  digest.update(size);
  for (std::size_t begin = 0; begin < bytes.size(); begin += 4 * kMiB) {
    const auto block = bytes.subspan(begin, std::min(4 * kMiB, bytes.size() - begin));
    const auto hash = base::xxh3_128(block);
    digest.update(std::as_bytes(std::span(hash)));
  }
  return base::to_hex(digest.finish());
}

TEST(Fingerprint, IsTheDigestOfItsDefinition) {
  const tests::TemporaryDirectory directory;
  const auto path = directory.file("f");

  for (const std::size_t size : {std::size_t{0}, std::size_t{5}, 4 * kMiB, 9 * kMiB + 3}) {
    tests::write_file(path, pattern(size));

    EXPECT_EQ(fingerprint(path), by_definition(pattern(size))) << size << " bytes";
  }
}

TEST(Fingerprint, IsTheSameWhenSeveralThreadsReadALargeFile) {
  const tests::TemporaryDirectory directory;
  const auto bytes = pattern(65 * kMiB + 1);
  tests::write_file(directory.file("f"), bytes);

  for (const int threads : {1, 2, 3, 7}) {
    EXPECT_EQ(fingerprint(directory.file("f"), {.threads = threads}), by_definition(bytes));
  }
}

TEST(Fingerprint, ChangesWithEachByte) {
  const tests::TemporaryDirectory directory;
  auto bytes = pattern(64);
  tests::write_file(directory.file("f"), bytes);
  const auto before = fingerprint(directory.file("f"));

  bytes[63] ^= std::byte{1};
  tests::write_file(directory.file("f"), bytes);

  EXPECT_NE(fingerprint(directory.file("f")), before);
}

TEST(Fingerprint, OfAMissingFileNamesIt) {
  EXPECT_THAT(tests::message_of<base::DataError>([] { fingerprint("no/such.h5"); }),
              HasSubstr("data file 'no/such.h5' cannot be opened"));
}

class FingerprintMemory : public ::testing::Test {
 protected:
  FingerprintMemory() {
    tests::write_file(path_, pattern(100));
    options_.cache_directory = directory_.file("cache");
    options_.clock = &clock_;
    clock_.sleep_for(base::Clock::system().wall() + std::chrono::seconds(10));
  }

  std::size_t entries() const {
    std::error_code none;
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(options_.cache_directory, none)) {
      count += entry.path().extension() == ".json" ? 1 : 0;
    }
    return count;
  }
  /// Puts another file's digest into the only entry, so that a use of it shows.
  void forge() {
    const auto other = std::string(64, 'a');
    const auto real = fingerprint(path_);
    ResultCache cache(options_.cache_directory);
    const auto stamp = detail::FileDescriptor(path_).stamp();
    const auto key =
        "device " + std::to_string(stamp.device) + " inode " + std::to_string(stamp.inode);
    auto text = cache.load("fingerprint", key).value();
    text.replace(text.find(real), real.size(), other);
    cache.store("fingerprint", key, text);
  }

  tests::TemporaryDirectory directory_;
  std::string path_ = directory_.file("f");
  tests::FixedClock clock_;
  FingerprintOptions options_;
};

TEST_F(FingerprintMemory, SparesReadingAFileAgain) {
  EXPECT_EQ(fingerprint(path_, options_), by_definition(pattern(100)));
  EXPECT_EQ(fingerprint(path_, options_), by_definition(pattern(100)));
  forge();

  EXPECT_EQ(fingerprint(path_, options_), std::string(64, 'a'));
}

TEST_F(FingerprintMemory, IsOfNoUseForAChangedFile) {
  fingerprint(path_, options_);
  forge();

  auto bytes = pattern(100);
  bytes[50] ^= std::byte{1};
  const auto before = std::filesystem::last_write_time(path_);
  tests::write_file(path_, bytes);
  std::filesystem::last_write_time(path_, before);

  EXPECT_EQ(fingerprint(path_, options_), by_definition(bytes));
}

TEST_F(FingerprintMemory, DoesNotTrustAFileThatChangedWithinTwoSeconds) {
  tests::FixedClock early;
  early.sleep_for(base::Clock::system().wall() + std::chrono::seconds(1));
  options_.clock = &early;

  EXPECT_EQ(fingerprint(path_, options_), by_definition(pattern(100)));
  EXPECT_EQ(entries(), 0U);
}

TEST_F(FingerprintMemory, DoesNotTrustAFileFromTheFuture) {
  std::filesystem::last_write_time(
      path_, std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));

  fingerprint(path_, options_);

  EXPECT_EQ(entries(), 0U);
}

TEST_F(FingerprintMemory, SurvivesNonsenseInItsEntry) {
  fingerprint(path_, options_);
  const auto stamp = detail::FileDescriptor(path_).stamp();
  const auto key =
      "device " + std::to_string(stamp.device) + " inode " + std::to_string(stamp.inode);

  for (const char* nonsense : {"", "{", "[]", "7", R"({"size": "x"})", R"({"fingerprint": 3})"}) {
    ResultCache(options_.cache_directory).store("fingerprint", key, nonsense);

    EXPECT_EQ(fingerprint(path_, options_), by_definition(pattern(100))) << nonsense;
  }
}

TEST(QuickIdentity, TellsFilesApartByTheirStartEndAndSize) {
  const tests::TemporaryDirectory directory;
  const auto path = directory.file("f");
  const auto identity = [&](std::span<const std::byte> bytes) {
    tests::write_file(path, bytes);
    return quick_identity(path);
  };
  auto bytes = pattern(3 * kMiB + 7);
  const auto before = identity(bytes);

  EXPECT_EQ(identity(bytes), before);
  EXPECT_NE(identity(std::span(bytes).first(bytes.size() - 1)), before);
  bytes.back() ^= std::byte{1};
  EXPECT_NE(identity(bytes), before);
  bytes.back() ^= std::byte{1};
  bytes.front() ^= std::byte{1};
  EXPECT_NE(identity(bytes), before);
  EXPECT_EQ(identity({}), identity({}));
}

}  // namespace
}  // namespace lockstep::data
