#pragma once
// The order of the samples in an epoch: a keyed bijection of [0, rows) that answers any position
// in constant time, without an index list. Pure, any thread.

#include <cstdint>

#include "base/philox.hpp"

namespace lockstep::data {

enum class Shuffle { kOff, kOn };

/// A generalised Feistel cipher on Z_a x Z_b, a * b >= rows, with cycle walking (Black and Rogaway:
/// "Ciphers with Arbitrary Finite Domains", CT-RSA 2002, sections 3 and 4); round function
/// Philox4x32. Do not change: it decides every run's bits.
class Permutation {
 public:
  Permutation(std::int64_t rows, std::uint64_t seed, std::int64_t epoch, Shuffle shuffle);

  std::int64_t rows() const { return rows_; }
  /// The sample at `position`, both in [0, rows).
  std::int64_t at(std::int64_t position) const;

 private:
  std::uint64_t encipher(std::uint64_t value) const;

  std::int64_t rows_;
  Shuffle shuffle_;
  base::PhiloxKey key_;
  std::uint64_t left_size_;
  std::uint64_t right_size_;
};

}  // namespace lockstep::data
