#pragma once
// How often each leading digit of a column's keys occurs. Internal to data/; one object belongs to
// one thread, counts of several are added.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "data/ordered_keys.hpp"

namespace lockstep::data::detail {

/// Counts by digit, in the order of the numbers.
using Counts = std::vector<std::uint64_t>;

/// Where a number's count lies while blocks are counted: for floats by the bits as they are in
/// memory, which takes one load.
template <class T>
std::size_t raw_digit(T value, const KeyRange<T>& range) {
  if constexpr (kIsFloat<T>) {
    return static_cast<std::size_t>(bits_of(value) >> (kKeyBits<T> - kLeadingBits<T>));
  } else {
    return range.leading(value);
  }
}

/// The digit that is counted at a raw place.
template <class T>
std::size_t digit_of_raw(std::size_t raw) {
  if constexpr (kIsFloat<T>) {
    constexpr auto kShift = kKeyBits<T> - kLeadingBits<T>;
    const auto bits = static_cast<Key<T>>(static_cast<Key<T>>(raw) << kShift);
    return static_cast<std::size_t>(key_of_bits<T>(bits) >> kShift);
  } else {
    return raw;
  }
}

template <class T>
class DigitCounter {
 public:
  explicit DigitCounter(KeyRange<T> range = {}) : range_(range) {}

  void add(std::span<const T> values) {
    if (lanes_.empty()) {
      lanes_.resize(kLanes * kDigits<T>);
      totals_.resize(kDigits<T>);
    }
    if (pending_ + values.size() > kMostPending) flush();
    pending_ += values.size();
    std::size_t place = 0;
    if constexpr (sizeof(T) == 1) {
      for (; place + 8 <= values.size(); place += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, values.data() + place, sizeof word);
        if constexpr (std::is_signed_v<T>) word ^= 0x8080808080808080u;
        for (std::size_t i = 0; i < 8; ++i) {
          ++lanes_[i % kLanes * kDigits<T> + (word >> (8 * i) & 0xff)];
        }
      }
    }
    // Equal neighbours are common, and an increment waits for the one before it at the same place.
    for (; place + kLanes <= values.size(); place += kLanes) {
      for (std::size_t i = 0; i < kLanes; ++i) {
        ++lanes_[i * kDigits<T> + raw_digit(values[place + i], range_)];
      }
    }
    for (; place < values.size(); ++place) ++lanes_[raw_digit(values[place], range_)];
  }

  /// Adds what was counted so far to `counts`, which has kDigits<T> of them.
  void add_to(Counts& counts) {
    if (lanes_.empty()) return;
    flush();
    for (std::size_t raw = 0; raw < totals_.size(); ++raw) {
      counts[digit_of_raw<T>(raw)] += totals_[raw];
    }
  }

 private:
  static constexpr std::size_t kLanes = sizeof(T) == 1 ? 4 : 2;
  static constexpr std::uint64_t kMostPending = std::uint64_t{1} << 31;

  void flush() {
    for (std::size_t i = 0; i < lanes_.size(); ++i) totals_[i % kDigits<T>] += lanes_[i];
    std::fill(lanes_.begin(), lanes_.end(), 0);
    pending_ = 0;
  }

  KeyRange<T> range_;
  std::uint64_t pending_ = 0;
  std::vector<std::uint32_t> lanes_;  ///< [lane, raw digit]
  Counts totals_;                     ///< by raw digit
};

}  // namespace lockstep::data::detail
