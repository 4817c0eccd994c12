#include "base/sha256_pair.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/error.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace lockstep::base {
namespace {

constexpr std::size_t kBlock = 64;
constexpr std::size_t kLanes = 2;

#if defined(__x86_64__)

bool has_instructions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_SSSE3) == 0 || (c & bit_SSE4_1) == 0) {
    return false;
  }
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_SHA) != 0;
}

// FIPS 180-4, section 4.2.2.
alignas(16) constexpr std::array<std::uint32_t, 64> kRoundConstants{
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/// The eight words of a hash as the instructions want them: ABEF and CDGH.
struct Words {
  __m128i abef, cdgh;
};

/// FIPS 180-4, section 5.3.3.
Words first_words() {
  return {_mm_set_epi32(0x6a09e667, static_cast<int>(0xbb67ae85), 0x510e527f,
                        static_cast<int>(0x9b05688c)),
          _mm_set_epi32(0x3c6ef372, static_cast<int>(0xa54ff53a), 0x1f83d9ab, 0x5be0cd19)};
}

/// Section 6.2.2 over `count` blocks of each text. The use of the instructions is that of Intel's
/// "SHA Extensions" (Gulley et al. 2013).
__attribute__((target("sha,sse4.1,ssse3"))) void hash_blocks(
    std::array<Words, kLanes>& words, const std::array<const std::byte*, kLanes>& texts,
    std::size_t count) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  // Plain arrays: with everything unrolled they are registers.
  __m128i abef[kLanes], cdgh[kLanes], schedule[kLanes][4];
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    abef[lane] = words[lane].abef;
    cdgh[lane] = words[lane].cdgh;
  }
  for (std::size_t block = 0; block < count; ++block) {
    __m128i old_abef[kLanes], old_cdgh[kLanes];
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      old_abef[lane] = abef[lane];
      old_cdgh[lane] = cdgh[lane];
    }
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 16; ++i) {
      const __m128i constants =
          _mm_load_si128(reinterpret_cast<const __m128i*>(kRoundConstants.data() + 4 * i));
#pragma GCC unroll 2
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        auto& s = schedule[lane];
        __m128i next;
        if (i < 4) {
          const auto* at = texts[lane] + kBlock * block + 16 * i;
          next =
              _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)), big_endian);
        } else {
          next = _mm_sha256msg1_epu32(s[i % 4], s[(i + 1) % 4]);
          next = _mm_add_epi32(next, _mm_alignr_epi8(s[(i + 3) % 4], s[(i + 2) % 4], 4));
          next = _mm_sha256msg2_epu32(next, s[(i + 3) % 4]);
        }
        s[i % 4] = next;
        const __m128i rounds = _mm_add_epi32(next, constants);
        cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], rounds);
        abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], _mm_shuffle_epi32(rounds, 0x0e));
      }
    }
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      abef[lane] = _mm_add_epi32(abef[lane], old_abef[lane]);
      cdgh[lane] = _mm_add_epi32(cdgh[lane], old_cdgh[lane]);
    }
  }
  for (std::size_t lane = 0; lane < kLanes; ++lane) words[lane] = {abef[lane], cdgh[lane]};
}

Sha256Digest digest_of(const Words& words) {
  alignas(16) std::array<std::uint32_t, 4> abef{}, cdgh{};
  _mm_store_si128(reinterpret_cast<__m128i*>(abef.data()), words.abef);
  _mm_store_si128(reinterpret_cast<__m128i*>(cdgh.data()), words.cdgh);
  const std::array<std::uint32_t, 8> in_order{abef[3], abef[2], cdgh[3], cdgh[2],
                                              abef[1], abef[0], cdgh[1], cdgh[0]};
  Sha256Digest digest{};
  for (std::size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<std::uint8_t>(in_order[i / 4] >> (24 - 8 * (i % 4)));
  }
  return digest;
}

#endif

}  // namespace

struct Sha256Pair::State {
#if defined(__x86_64__)
  const bool instructions = has_instructions();
  std::array<Words, kLanes> words{first_words(), first_words()};
  std::array<std::array<std::byte, kBlock>, kLanes> rest{};  // less than a block of each text
  std::uint64_t length = 0;                                  // of each text

  void add(std::array<std::span<const std::byte>, kLanes> texts) {
    auto held = static_cast<std::size_t>(length % kBlock);
    length += texts[0].size();
    if (held > 0) {
      const auto count = std::min(kBlock - held, texts[0].size());
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        std::memcpy(rest[lane].data() + held, texts[lane].data(), count);
        texts[lane] = texts[lane].subspan(count);
      }
      held += count;
      if (held < kBlock) return;
      hash_blocks(words, {rest[0].data(), rest[1].data()}, 1);
    }
    const auto blocks = texts[0].size() / kBlock;
    hash_blocks(words, {texts[0].data(), texts[1].data()}, blocks);
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const auto tail = texts[lane].subspan(blocks * kBlock);
      std::ranges::copy(tail, rest[lane].begin());
    }
  }

  std::array<Sha256Digest, kLanes> end() {
    // A one, zeros, and the length in bits, to whole blocks (section 5.1.1).
    const auto bits = length * 8;
    std::array<std::byte, 2 * kBlock> padding{std::byte{0x80}};
    const auto held = static_cast<std::size_t>(length % kBlock);
    const auto size = (held < kBlock - 8 ? kBlock : 2 * kBlock) - held;
    for (std::size_t i = 0; i < 8; ++i) {
      padding[size - 1 - i] = static_cast<std::byte>(bits >> (8 * i));
    }
    const auto text = std::span<const std::byte>(padding).first(size);
    add({text, text});
    const std::array digests{digest_of(words[0]), digest_of(words[1])};
    words = {first_words(), first_words()};
    length = 0;
    return digests;
  }
#else
  static constexpr bool instructions = false;
  void add(std::array<std::span<const std::byte>, kLanes>) {}
  std::array<Sha256Digest, kLanes> end() { return {}; }
#endif
  std::array<Sha256, kLanes> plain;
};

Sha256Pair::Sha256Pair() : state_(std::make_unique<State>()) {}
Sha256Pair::~Sha256Pair() = default;
Sha256Pair::Sha256Pair(Sha256Pair&&) noexcept = default;
Sha256Pair& Sha256Pair::operator=(Sha256Pair&&) noexcept = default;

void Sha256Pair::update(std::span<const std::byte> first, std::span<const std::byte> second) {
  LOCKSTEP_EXPECT(first.size() == second.size(), "a pair of texts of two lengths");
  if (first.empty()) return;
  if (state_->instructions) return state_->add({first, second});
  state_->plain[0].update(first);
  state_->plain[1].update(second);
}

std::array<Sha256Digest, 2> Sha256Pair::finish() {
  if (state_->instructions) return state_->end();
  return {state_->plain[0].finish(), state_->plain[1].finish()};
}

std::vector<std::string> sha256_hex_each(std::span<const std::span<const std::byte>> texts) {
  std::vector<std::string> digests;
  digests.reserve(texts.size());
  Sha256Pair pair;
  for (std::size_t i = 0; i < texts.size();) {
    if (i + 1 < texts.size() && texts[i].size() == texts[i + 1].size()) {
      pair.update(texts[i], texts[i + 1]);
      for (const auto& digest : pair.finish()) digests.push_back(to_hex(digest));
      i += 2;
    } else {
      digests.push_back(sha256_hex(texts[i]));
      ++i;
    }
  }
  return digests;
}

}  // namespace lockstep::base
