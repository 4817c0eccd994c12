#include "trainer/device_reference.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "comm/reduction_tree.hpp"

namespace lockstep::trainer {
namespace {

std::uint16_t bfloat16_of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return 0x7FC0;
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

}  // namespace

double reference_squares(const float* values, std::int64_t count) {
  std::array<double, 256> lanes{};
  for (std::int64_t i = 0; i < count; ++i) {
    const double value = values[i];
    lanes[static_cast<std::size_t>(i % 256)] += value * value;
  }
  for (std::size_t width = 128; width > 0; width /= 2) {
    for (std::size_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

float reference_scale(const double* squares, std::int64_t blocks, GradientScale how) {
  const double mean = 1 / how.divisor;
  const std::span<const double> leaves(squares, static_cast<std::size_t>(blocks));
  const double total = comm::tree_sum(leaves);
  if (!std::isfinite(total)) return how.leaves_out_overflows ? 0.0F : std::nanf("");
  if (how.clip_norm <= 0) return static_cast<float>(mean);
  const double norm = std::sqrt(total) / how.divisor;
  return static_cast<float>(mean * std::min(1.0, how.clip_norm / (norm + 1e-6)));
}

void reference_shorten(const float* values, ShortCopy shorts, std::int64_t count) {
  if (shorts.type == ShortType::kNone) return;
  auto* out = static_cast<std::uint16_t*>(shorts.values);
  for (std::int64_t i = 0; i < count; ++i) {
    if (shorts.type == ShortType::kBFloat16) {
      out[i] = bfloat16_of(values[i]);
    } else {
      const auto half = static_cast<_Float16>(values[i]);
      out[i] = std::bit_cast<std::uint16_t>(half);
    }
  }
}

}  // namespace lockstep::trainer
