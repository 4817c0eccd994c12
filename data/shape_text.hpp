#pragma once
// Lengths of dimensions as people read them. Pure, any thread.

#include <cstdint>
#include <span>
#include <string>

namespace lockstep::data {

/// `[3, 28, 28]`.
std::string shape_text(std::span<const std::int64_t> shape);
/// `3 x 28 x 28`.
std::string dimensions_text(std::span<const std::int64_t> shape);

}  // namespace lockstep::data
