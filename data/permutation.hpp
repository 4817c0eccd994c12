#pragma once
// The order of the samples in an epoch: a keyed bijection of [0, rows) that answers any position
// in constant time, without an index list. Pure, any thread.

#include <array>
#include <cstdint>
#include <span>

namespace lockstep::data {

enum class Shuffle { kOff, kOn };

/// A generalised Feistel cipher on Z_a x Z_b, a * b >= rows, with cycle walking (Black and Rogaway:
/// "Ciphers with Arbitrary Finite Domains", CT-RSA 2002, sections 3 and 4). The keys of the rounds
/// come from Philox, a round mixes as the finaliser of SplitMix64 does (Steele, Lea and Flood:
/// "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014): a shuffle, not a secret. Do not
/// change: it decides every run's bits.
class Permutation {
 public:
  Permutation(std::int64_t rows, std::uint64_t seed, std::int64_t epoch, Shuffle shuffle);

  std::int64_t rows() const { return rows_; }
  /// The sample at `position`, both in [0, rows).
  std::int64_t at(std::int64_t position) const;
  /// The samples at positions [first, first + samples.size()): as `at`, but many at once.
  void take(std::int64_t first, std::span<std::int64_t> samples) const;
  /// The position of `sample`: the inverse of `at`.
  std::int64_t position_of(std::int64_t sample) const;

 private:
  static constexpr int kMostRounds = 24;

  std::uint64_t encipher(std::uint64_t value) const;
  std::uint64_t decipher(std::uint64_t value) const;
  void require(std::int64_t number, const char* what) const;

  std::int64_t rows_;
  Shuffle shuffle_;
  int rounds_ = kMostRounds;
  std::uint64_t left_size_ = 1;
  std::uint64_t right_size_ = 1;
  std::array<std::uint64_t, kMostRounds> keys_{};
};

}  // namespace lockstep::data
