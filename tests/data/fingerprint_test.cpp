#include "data/fingerprint.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
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

TEST(Fingerprint, IsTheSameWhenTwoThreadsReadALargeFile) {
  const tests::TemporaryDirectory directory;
  const auto bytes = pattern(65 * kMiB + 1);
  tests::write_file(directory.file("f"), bytes);

  EXPECT_EQ(fingerprint(directory.file("f")), by_definition(bytes));
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
