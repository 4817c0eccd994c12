#pragma once
// Element types that a column of a dataset file can have. Plain values, any thread.

#include <cstddef>
#include <string_view>

namespace lockstep::data {

enum class DType {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kU64,
  kI64,
  kF16,
  kBF16,  ///< the upper half of an f32
  kF32,
  kF64,
  kUnsupported,  ///< listed, but not readable as numbers: strings, opaque bytes, ...
};

/// Bytes of one element; 0 for kUnsupported.
std::size_t size_of(DType dtype);
/// `u8`, `i64`, `f32`, ...; `unsupported` for kUnsupported.
std::string_view name_of(DType dtype);
bool is_integer(DType dtype);
bool is_float(DType dtype);

}  // namespace lockstep::data
