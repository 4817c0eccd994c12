#pragma once
// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel Random
// Numbers: As Easy as 1, 2, 3", SC'11, section 3.3; constants of Random123).
// A number is a pure function of (key, counter): no state, any thread, any order.

#include <array>
#include <cstdint>

namespace lockstep::base {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

/// Four random 32-bit words for one counter value.
constexpr PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t left = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t right = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(right >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(right),
               static_cast<std::uint32_t>(left >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(left)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

/// What a random number is for. Part of the key, so that two uses never share a stream.
/// Do not change: the values decide every run's bits.
enum class RandomPurpose : std::uint32_t {
  kInitialization = 1,
  kMicroBatch = 2,
  kPermutation = 3,
  kSynthesis = 4,
  kTransform = 5,
  kTokenWindows = 6,
  kBlockWindow = 7,
  kMixing = 8,
};

/// A 64-bit random number keyed by the run's seed, its purpose and two coordinates
/// (for example step and micro-batch).
constexpr std::uint64_t keyed_random(std::uint64_t seed, RandomPurpose purpose, std::uint64_t a,
                                     std::uint64_t b) {
  const PhiloxKey key{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  const auto upper = philox4x32({static_cast<std::uint32_t>(purpose), 0, 0, 0}, key);
  const auto words =
      philox4x32({static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(a >> 32),
                  static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(b >> 32)},
                 {upper[0], upper[1]});
  return std::uint64_t{words[0]} | std::uint64_t{words[1]} << 32;
}

/// A nearly standard normal number of two random words: the sum of four uniform 16-bit numbers
/// (Irwin-Hall), mean 0, variance 1, within 3.47. Exact arithmetic, so the same everywhere.
/// Do not change: it decides the bits of synthetic files and of augmented samples.
constexpr float nearly_normal(std::uint32_t a, std::uint32_t b) {
  const auto sum = (a & 0xffff) + (a >> 16) + (b & 0xffff) + (b >> 16);
  // sqrt(12 / 4) standard deviations to a range of 2^16.
  return (static_cast<float>(static_cast<std::int32_t>(sum)) - 131070.0f) * (1.7320508f / 65536.0f);
}

}  // namespace lockstep::base
