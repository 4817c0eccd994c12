#pragma once
// Whether bytes that come in pieces are UTF-8. Internal to data/import. One thread.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace lockstep::data::detail {

/// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
class Utf8Check {
 public:
  /// Takes the next piece. Index in it of the first byte that cannot be there, or nothing.
  std::optional<std::size_t> feed(std::span<const std::byte> bytes);
  /// Whether the bytes so far end with a whole character.
  bool complete() const { return missing_ == 0; }

 private:
  int missing_ = 0;           ///< bytes of the character that are still to come
  std::uint8_t low_ = 0x80;   ///< the least that the next of them may be
  std::uint8_t high_ = 0xBF;  ///< and the most
};

}  // namespace lockstep::data::detail
