#pragma once
// Typed views of raw rows, and conversions of their elements. Internal to data/; pure.

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <type_traits>

#include "base/error.hpp"
#include "data/dtype.hpp"

namespace lockstep::data::detail {

/// An IEEE 754 binary16 number as it lies in memory.
struct Half {
  std::uint16_t bits;

  explicit operator float() const {
    const auto sign = static_cast<std::uint32_t>(bits >> 15) << 31;
    const auto exponent = static_cast<std::uint32_t>(bits >> 10 & 0x1f);
    const auto mantissa = static_cast<std::uint32_t>(bits & 0x3ff);
    if (exponent == 0) {
      const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
      return sign != 0 ? -magnitude : magnitude;
    }
    const auto wide_exponent = exponent == 0x1f ? 0xffu : exponent + 112;
    return std::bit_cast<float>(sign | wide_exponent << 23 | mantissa << 13);
  }
  explicit operator double() const { return static_cast<float>(*this); }
};

/// The upper half of a binary32 number ("bfloat16") as it lies in memory.
struct BFloat16 {
  std::uint16_t bits;

  explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
  explicit operator double() const { return static_cast<float>(*this); }
};

template <class T>
inline constexpr bool kIsFloat =
    std::is_floating_point_v<T> || std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

/// Calls `use` with the elements of `raw` as a span of their own type. `raw` must be aligned for
/// it, as all memory from new is.
template <class Use>
decltype(auto) with_elements(DType dtype, std::span<const std::byte> raw, Use&& use) {
  const auto as = [&]<class T>() {
    return std::span(reinterpret_cast<const T*>(raw.data()), raw.size() / sizeof(T));
  };
  switch (dtype) {
    case DType::kU8: return use(as.template operator()<std::uint8_t>());
    case DType::kI8: return use(as.template operator()<std::int8_t>());
    case DType::kU16: return use(as.template operator()<std::uint16_t>());
    case DType::kI16: return use(as.template operator()<std::int16_t>());
    case DType::kU32: return use(as.template operator()<std::uint32_t>());
    case DType::kI32: return use(as.template operator()<std::int32_t>());
    case DType::kU64: return use(as.template operator()<std::uint64_t>());
    case DType::kI64: return use(as.template operator()<std::int64_t>());
    case DType::kF16: return use(as.template operator()<Half>());
    case DType::kBF16: return use(as.template operator()<BFloat16>());
    case DType::kF32: return use(as.template operator()<float>());
    case DType::kF64: return use(as.template operator()<double>());
    case DType::kUnsupported: break;
  }
  throw base::InternalError("elements of an unsupported type were read; report this bug");
}

/// An integer element as i64; unsigned numbers beyond it become the largest one.
template <class T>
std::int64_t to_i64(T value) {
  static_assert(std::is_integral_v<T>);
  if constexpr (std::is_same_v<T, std::uint64_t>) {
    constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
    return value > static_cast<std::uint64_t>(kMost) ? kMost : static_cast<std::int64_t>(value);
  } else {
    return static_cast<std::int64_t>(value);
  }
}

/// Index of the first NaN or infinity.
inline std::optional<std::size_t> first_not_finite(std::span<const float> values) {
  constexpr std::uint32_t kExponent = 0x7f800000;
  // No early exit, so that it is vectorised; damage is rare.
  std::uint32_t found = 0;
  for (const float value : values) {
    found |= (std::bit_cast<std::uint32_t>(value) & kExponent) == kExponent ? 1u : 0u;
  }
  if (found == 0) return std::nullopt;
  std::size_t index = 0;
  while (std::isfinite(values[index])) ++index;
  return index;
}

}  // namespace lockstep::data::detail
