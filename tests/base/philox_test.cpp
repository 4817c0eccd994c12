#include "base/philox.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <cstdint>
#include <set>

namespace lockstep::base {
namespace {

// Known answers of Random123, file kat_vectors, lines `philox4x32 10`.
TEST(Philox4x32, GivesThePublishedAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox4x32, IsAConstantExpression) {
  static_assert(philox4x32({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5);
}

// The bits of every run hang on these two numbers: the definition in philox.hpp, worked by an
// independent implementation.
TEST(KeyedRandom, NeverChangesItsBits) {
  EXPECT_EQ(keyed_random(1, RandomPurpose::kMicroBatch, 0, 0), 0x6cbcf28b8b13eccdu);
  EXPECT_EQ(keyed_random(0x0123456789abcdef, RandomPurpose::kPermutation, 0x100000002, 3),
            0x0392449b03739cbeu);
}

TEST(KeyedRandom, DiffersInEveryPartOfItsKey) {
  std::set<std::uint64_t> seen;
  int calls = 0;
  for (const std::uint64_t seed : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{1} << 32}) {
    for (const auto purpose : {RandomPurpose::kInitialization, RandomPurpose::kMicroBatch}) {
      for (const std::uint64_t a : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 32}) {
        for (const std::uint64_t b : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 32}) {
          seen.insert(keyed_random(seed, purpose, a, b));
          ++calls;
        }
      }
    }
  }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(calls));
}

RC_GTEST_PROP(KeyedRandom, IsAFunctionOfItsArgumentsAlone,
              (std::uint64_t seed, std::uint64_t a, std::uint64_t b)) {
  const auto first = keyed_random(seed, RandomPurpose::kSynthesis, a, b);
  keyed_random(seed + 1, RandomPurpose::kSynthesis, b, a);
  RC_ASSERT(keyed_random(seed, RandomPurpose::kSynthesis, a, b) == first);
}

TEST(KeyedRandom, SetsEachBitHalfOfTheTime) {
  constexpr int kDraws = 4096;
  std::array<int, 64> ones{};

  for (std::uint64_t step = 0; step < kDraws; ++step) {
    const auto bits = keyed_random(7, RandomPurpose::kMicroBatch, step, 0);
    for (std::size_t i = 0; i < ones.size(); ++i) ones[i] += static_cast<int>(bits >> i & 1);
  }

  // Six standard deviations of a fair coin thrown kDraws times: 6 * sqrt(4096) / 2 = 192.
  for (const int count : ones) EXPECT_NEAR(count, kDraws / 2, 192);
}

TEST(NearlyNormal, NeverChangesItsBits) {
  EXPECT_EQ(nearly_normal(0x12345678, 0x9abcdef0), -0x1.9ad22p-3f);
  EXPECT_EQ(nearly_normal(0, 0), -0x1.bb65f2p+1f);
  EXPECT_EQ(nearly_normal(0xffffffff, 0xffffffff), 0x1.bb65f2p+1f);
}

}  // namespace
}  // namespace lockstep::base
