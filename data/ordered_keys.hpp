#pragma once
// Numbers as unsigned keys in the same order, and the leading digits of keys: how quantiles,
// histograms and distributions are counted exactly. Internal to data/; pure.
//
// A key of 32 or 64 bits is counted by its 16 leading bits first; the bits below are then counted
// only where an answer lies (radix selection). Numbers of up to 16 bits have no bits below.

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "data/elements.hpp"

namespace lockstep::data::detail {

template <class T>
struct KeyOf {
  using Type = std::make_unsigned_t<T>;
};
template <>
struct KeyOf<Half> {
  using Type = std::uint16_t;
};
template <>
struct KeyOf<BFloat16> {
  using Type = std::uint16_t;
};
template <>
struct KeyOf<float> {
  using Type = std::uint32_t;
};
template <>
struct KeyOf<double> {
  using Type = std::uint64_t;
};
template <class T>
using Key = typename KeyOf<T>::Type;

template <class T>
inline constexpr int kKeyBits = std::numeric_limits<Key<T>>::digits;
/// Bits that are counted at a time.
template <class T>
inline constexpr int kLeadingBits = kKeyBits<T> < 16 ? kKeyBits<T> : 16;

template <class T>
Key<T> bits_of(T value) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
    return value.bits;
  } else {
    return std::bit_cast<Key<T>>(value);
  }
}

template <class T>
inline constexpr Key<T> kTopBit = static_cast<Key<T>>(Key<T>{1} << (kKeyBits<T> - 1));

/// The key of bits as they lie in memory: of a signed integer with the sign turned around, of a
/// float with all bits of a negative one turned around, so that -0 comes before 0, infinities at
/// the ends, and NaN beyond them.
template <class T>
Key<T> key_of_bits(Key<T> bits) {
  if constexpr (kIsFloat<T>) {
    return static_cast<Key<T>>((bits & kTopBit<T>) != 0 ? ~bits : bits | kTopBit<T>);
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<Key<T>>(bits ^ kTopBit<T>);
  } else {
    return bits;
  }
}

template <class T>
Key<T> key_of(T value) {
  return key_of_bits<T>(bits_of(value));
}

template <class T>
T value_of_key(Key<T> key) {
  if constexpr (kIsFloat<T>) {
    const auto bits = static_cast<Key<T>>((key & kTopBit<T>) != 0 ? key ^ kTopBit<T> : ~key);
    return std::bit_cast<T>(bits);
  } else if constexpr (std::is_signed_v<T>) {
    return std::bit_cast<T>(static_cast<Key<T>>(key ^ kTopBit<T>));
  } else {
    return key;
  }
}

/// Where the leading bits of a column's keys lie: keys are counted from `offset`, and the 16 bits
/// above `shift` of what is left are the leading ones.
template <class T>
struct KeyRange {
  Key<T> offset = 0;
  int shift = kKeyBits<T> - kLeadingBits<T>;

  /// Of integers from `smallest` to `largest`: as few bits as tell them apart.
  static KeyRange between(T smallest, T largest) {
    const auto spread = static_cast<Key<T>>(key_of(largest) - key_of(smallest));
    const int bits = std::bit_width(spread);
    return {.offset = key_of(smallest),
            .shift = bits > kLeadingBits<T> ? bits - kLeadingBits<T> : 0};
  }

  Key<T> relative(T value) const { return static_cast<Key<T>>(key_of(value) - offset); }
  std::size_t leading(T value) const { return static_cast<std::size_t>(relative(value) >> shift); }
  /// The number behind a relative key.
  double number(Key<T> relative_key) const {
    // Adding 0 turns -0 into 0.
    return static_cast<double>(value_of_key<T>(static_cast<Key<T>>(relative_key + offset))) + 0.0;
  }
};

/// How many leading digits there can be.
template <class T>
inline constexpr std::size_t kDigits = std::size_t{1} << kLeadingBits<T>;

/// Whether a leading digit (of a whole float key) belongs to infinities and NaN alone.
template <class T>
bool is_finite_digit(std::size_t digit) {
  if constexpr (kIsFloat<T>) {
    const auto shift = KeyRange<T>().shift;
    return std::isfinite(static_cast<double>(
        value_of_key<T>(static_cast<Key<T>>(static_cast<Key<T>>(digit) << shift))));
  } else {
    return true;
  }
}

}  // namespace lockstep::data::detail
