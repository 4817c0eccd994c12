#include "data/dtype.hpp"

#include <array>

namespace lockstep::data {
namespace {

struct Row {
  std::size_t size;
  std::string_view name;
};

/// In the order of the enumerators.
constexpr std::array<Row, 13> kTypes = {{{1, "u8"},
                                         {1, "i8"},
                                         {2, "u16"},
                                         {2, "i16"},
                                         {4, "u32"},
                                         {4, "i32"},
                                         {8, "u64"},
                                         {8, "i64"},
                                         {2, "f16"},
                                         {2, "bf16"},
                                         {4, "f32"},
                                         {8, "f64"},
                                         {0, "unsupported"}}};
static_assert(kTypes.size() == static_cast<std::size_t>(DType::kUnsupported) + 1);

}  // namespace

std::size_t size_of(DType dtype) { return kTypes[static_cast<std::size_t>(dtype)].size; }

std::string_view name_of(DType dtype) { return kTypes[static_cast<std::size_t>(dtype)].name; }

bool is_integer(DType dtype) { return dtype <= DType::kI64; }

bool is_float(DType dtype) { return dtype >= DType::kF16 && dtype <= DType::kF64; }

}  // namespace lockstep::data
