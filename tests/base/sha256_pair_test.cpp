// Two hashes at once against OpenSSL's, one at a time.

#include "base/sha256_pair.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.hpp"

namespace lockstep::base {
namespace {

std::vector<std::byte> drawn(std::size_t length, unsigned seed) {
  std::vector<std::byte> bytes(length);
  for (auto& byte : bytes) {
    seed = seed * 1664525 + 1013904223;
    byte = static_cast<std::byte>(seed >> 24);
  }
  return bytes;
}

TEST(Sha256Pair, GivesTheDigestsOfTheStandardsExamples) {
  Sha256Pair pair;
  const std::string abc = "abc", other = "abd";

  pair.update(std::as_bytes(std::span(abc)), std::as_bytes(std::span(other)));

  // FIPS 180-4, "abc".
  EXPECT_EQ(to_hex(pair.finish()[0]),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256Pair, EqualsOneAfterTheOtherAtEveryLength) {
  Sha256Pair pair;
  for (std::size_t length = 0; length < 300; ++length) {
    const auto first = drawn(length, 1), second = drawn(length, 2);

    pair.update(first, second);
    const auto digests = pair.finish();

    ASSERT_EQ(digests[0], sha256(first)) << length;
    ASSERT_EQ(digests[1], sha256(second)) << length;
  }
}

RC_GTEST_PROP(Sha256Pair, DoesNotDependOnHowTheTextsAreCut, ()) {
  const auto lengths =
      *rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(0, 200));
  std::vector<std::byte> first, second;
  Sha256Pair pair;
  for (const auto length : lengths) {
    const auto one = drawn(length, static_cast<unsigned>(first.size())),
               other = drawn(length, static_cast<unsigned>(first.size()) + 7);
    pair.update(one, other);
    first.insert(first.end(), one.begin(), one.end());
    second.insert(second.end(), other.begin(), other.end());
  }

  const auto digests = pair.finish();

  RC_ASSERT(digests[0] == sha256(first));
  RC_ASSERT(digests[1] == sha256(second));
}

TEST(Sha256Pair, HashesLongTexts) {
  const auto first = drawn(3'000'001, 3), second = drawn(3'000'001, 4);
  Sha256Pair pair;

  pair.update(first, second);

  const auto digests = pair.finish();
  EXPECT_EQ(digests[0], sha256(first));
  EXPECT_EQ(digests[1], sha256(second));
}

TEST(Sha256Pair, RefusesPiecesOfTwoLengths) {
  const auto first = drawn(3, 1), second = drawn(4, 1);

  EXPECT_THROW(Sha256Pair().update(first, second), InternalError);
}

TEST(Sha256HexEach, PairsNeighboursOfOneLengthAndHashesTheOthersAlone) {
  std::vector<std::vector<std::byte>> texts;
  for (const std::size_t length : {5u, 5u, 5u, 9u, 0u, 0u, 100u, 64u, 64u, 7u}) {
    texts.push_back(drawn(length, static_cast<unsigned>(texts.size())));
  }
  const std::vector<std::span<const std::byte>> spans(texts.begin(), texts.end());

  const auto digests = sha256_hex_each(spans);

  ASSERT_EQ(digests.size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(digests[i], sha256_hex(texts[i])) << i;
  EXPECT_TRUE(sha256_hex_each({}).empty());
}

}  // namespace
}  // namespace lockstep::base
