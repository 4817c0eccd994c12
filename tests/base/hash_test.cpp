#include "base/hash.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace lockstep::base {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// FIPS 180-4 examples, as published with the standard (NIST, "SHA256.pdf").
TEST(Sha256, GivesThePublishedDigests) {
  EXPECT_EQ(sha256_hex(std::string_view()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, StartsAnewAfterFinish) {
  Sha256 hash;
  hash.update("something else").finish();

  EXPECT_EQ(to_hex(hash.update("abc").finish()), sha256_hex("abc"));
}

TEST(Sha256, GoesOnAfterAMove) {
  Sha256 begun;
  begun.update("ab");

  Sha256 moved = std::move(begun);

  EXPECT_EQ(to_hex(moved.update("c").finish()), sha256_hex("abc"));
}

RC_GTEST_PROP(Sha256, DoesNotDependOnHowTheBytesAreCut, (std::vector<std::string> pieces)) {
  Sha256 hash;
  std::string whole;
  for (const auto& piece : pieces) {
    hash.update(piece);
    whole += piece;
  }
  RC_ASSERT(to_hex(hash.finish()) == sha256_hex(whole));
}

// XXH3-128 with seed 0; the first is the value that the specification's reference
// implementation gives for no bytes (xxHash, tests/sanity_test_vectors.h).
TEST(Xxh3, GivesThePublishedDigestOfNothing) {
  EXPECT_EQ(to_hex(xxh3_128({})), "99aa06d3014798d86001c324468d497f");
}

TEST(Xxh3, NoticesAFlippedBitAnywhere) {
  std::string text(1000, 'x');
  const auto whole = xxh3_128(bytes_of(text));

  for (std::size_t i = 0; i < text.size(); i += 37) {
    text[i] ^= 1;
    EXPECT_NE(xxh3_128(bytes_of(text)), whole) << "byte " << i;
    text[i] ^= 1;
  }
  EXPECT_EQ(xxh3_128(bytes_of(text)), whole);
}

TEST(ToHex, WritesTwoLowerCaseDigitsAByte) {
  const std::vector<std::uint8_t> bytes{0x00, 0x0f, 0xa0, 0xff};

  EXPECT_EQ(to_hex(bytes), "000fa0ff");
  EXPECT_EQ(to_hex({}), "");
}

}  // namespace
}  // namespace lockstep::base
