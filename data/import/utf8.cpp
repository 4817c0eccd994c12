#include "data/import/utf8.hpp"

namespace lockstep::data::detail {

std::optional<std::size_t> Utf8Check::feed(std::span<const std::byte> bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(bytes[i]);
    if (missing_ > 0) {
      if (byte < low_ || byte > high_) return i;
      --missing_;
      low_ = 0x80;
      high_ = 0xBF;
      continue;
    }
    if (byte < 0x80) continue;
    // The second byte's range, from the table of RFC 3629, section 4.
    if (byte >= 0xC2 && byte <= 0xDF) {
      missing_ = 1;
    } else if (byte >= 0xE0 && byte <= 0xEF) {
      missing_ = 2;
      if (byte == 0xE0) low_ = 0xA0;
      if (byte == 0xED) high_ = 0x9F;
    } else if (byte >= 0xF0 && byte <= 0xF4) {
      missing_ = 3;
      if (byte == 0xF0) low_ = 0x90;
      if (byte == 0xF4) high_ = 0x8F;
    } else {
      return i;
    }
  }
  return std::nullopt;
}

}  // namespace lockstep::data::detail
