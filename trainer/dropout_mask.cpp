#include "trainer/dropout_mask.hpp"

#include <array>

#include "base/philox.hpp"
#include "base/vector_clones.hpp"

namespace lockstep::trainer {
namespace {

constexpr std::size_t kLanes = 16;
constexpr std::int64_t kBlock = 4 * kLanes;  // elements of 16 counters

using Words = std::array<std::uint32_t, kLanes>;

/// base::philox4x32 of 16 counters at once. Lane l of word w belongs to element 16 w + l.
LOCKSTEP_VECTOR_CLONES void fill_block(float* mask, std::uint64_t block, base::PhiloxKey key,
                                       std::uint32_t dropped_below, float kept) {
  std::array<Words, 4> words{};
  const std::uint64_t first = block * kLanes;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    words[0][lane] = static_cast<std::uint32_t>(first) + static_cast<std::uint32_t>(lane);
    words[1][lane] = static_cast<std::uint32_t>(first >> 32);
  }
  for (int round = 0; round < 10; ++round) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t left = std::uint64_t{0xD2511F53u} * words[0][lane];
      const std::uint64_t right = std::uint64_t{0xCD9E8D57u} * words[2][lane];
      words[0][lane] = static_cast<std::uint32_t>(right >> 32) ^ words[1][lane] ^ key[0];
      words[1][lane] = static_cast<std::uint32_t>(right);
      words[2][lane] = static_cast<std::uint32_t>(left >> 32) ^ words[3][lane] ^ key[1];
      words[3][lane] = static_cast<std::uint32_t>(left);
    }
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  for (std::size_t word = 0; word < 4; ++word) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      mask[word * kLanes + lane] = words[word][lane] < dropped_below ? 0.0F : kept;
    }
  }
}

}  // namespace

void fill_dropout_mask(float* mask, std::int64_t count, double probability, std::uint64_t key) {
  const base::PhiloxKey words{static_cast<std::uint32_t>(key),
                              static_cast<std::uint32_t>(key >> 32)};
  const auto [dropped_below, kept] = dropout_odds(probability);
  std::uint64_t block = 0;
  for (; count >= kBlock; count -= kBlock, mask += kBlock, ++block) {
    fill_block(mask, block, words, dropped_below, kept);
  }
  std::array<float, kBlock> last;
  fill_block(last.data(), block, words, dropped_below, kept);
  for (std::int64_t i = 0; i < count; ++i) mask[i] = last[static_cast<std::size_t>(i)];
}

}  // namespace lockstep::trainer
