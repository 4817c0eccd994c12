#include "trainer/layer_reference.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <span>
#include <vector>

#include "trainer/dropout_mask.hpp"

namespace lockstep::trainer {
namespace {

std::uint16_t bfloat16_of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return 0x7FFF;
  return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

std::uint16_t float16_of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
  if (std::isnan(value)) return 0x7FFF;
  std::uint32_t result = 0;
  if (magnitude >= 0x477FF000) {  // 65520 and more
    result = 0x7C00;
  } else if (magnitude < 0x38800000) {
    // Below the least normal number the distance is 2^-24, as that of floats from 0.5 on.
    const float moved = std::bit_cast<float>(magnitude) + 0.5F;
    result = std::bit_cast<std::uint32_t>(moved) - 0x3F000000;
  } else {
    result = ((magnitude + 0xFFF + (magnitude >> 13 & 1)) >> 13) - (112u << 10);
  }
  return static_cast<std::uint16_t>(sign | result);
}

float of_float16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31u,
                      fraction = bits & 1023u;
  if (exponent == 0) {
    const float value = std::ldexp(static_cast<float>(fraction), -24);
    return sign != 0 ? -value : value;
  }
  const std::uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

/// gelu(x) and its slope by x.
struct Gelu {
  explicit Gelu(float x) {
    constexpr float kScale = 1.5957691216057308F;  // 2 sqrt(2 / pi)
    constexpr float kCubic = 0.044715F;
    // (1 + tanh(u / 2)) / 2 = 1 / (1 + exp(-u)), which keeps its places where that is small.
    const float square = x * x;
    const float u = kScale * (x + kCubic * (square * x));
    const float gate = 1 / (1 + std::exp(-u));
    value = x * gate;
    slope = gate + value * (1 - gate) * (kScale * (1 + 3 * kCubic * square));
  }
  float value, slope;
};

/// Halves to halves; the result is the first.
float halved(std::span<float> values) {
  for (auto width = values.size() / 2; width > 0; width /= 2) {
    for (std::size_t i = 0; i < width; ++i) values[i] += values[i + width];
  }
  return values[0];
}

/// A row's sum by lanes.
class RowSum {
 public:
  explicit RowSum(std::int64_t columns) : lanes_(static_cast<std::size_t>(norm_lanes(columns))) {}
  void add(std::int64_t column, float value) {
    lanes_[static_cast<std::size_t>(column / 4) % lanes_.size()] += value;
  }
  float total() {
    std::vector<float> warps;
    for (std::size_t first = 0; first < lanes_.size(); first += 32) {
      warps.push_back(halved(std::span(lanes_).subspan(first, 32)));
    }
    return halved(warps);
  }

 private:
  std::vector<float> lanes_;
};

/// Each of 32 lanes adds every 32nd chunk, then halves are added to halves.
void fold_chunks(const float* partials, std::int64_t chunks, std::int64_t width, float* out) {
  for (std::int64_t column = 0; column < width; ++column) {
    std::array<float, 32> lanes{};
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      lanes[static_cast<std::size_t>(chunk % 32)] += partials[chunk * width + column];
    }
    out[column] = halved(lanes);
  }
}

}  // namespace

float element(ElementType type, const void* values, std::int64_t i) {
  if (type == ElementType::kFloat32) return static_cast<const float*>(values)[i];
  const auto bits = static_cast<const std::uint16_t*>(values)[i];
  if (type == ElementType::kFloat16) return of_float16(bits);
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

void set_element(ElementType type, void* values, std::int64_t i, float value) {
  if (type == ElementType::kFloat32) {
    static_cast<float*>(values)[i] = value;
  } else {
    static_cast<std::uint16_t*>(values)[i] =
        type == ElementType::kFloat16 ? float16_of(value) : bfloat16_of(value);
  }
}

std::int64_t bytes_of(ElementType type) { return type == ElementType::kFloat32 ? 4 : 2; }

void reference_bias_gelu(const BiasGeluForward& pass) {
  for (std::int64_t i = 0; i < pass.rows * pass.columns; ++i) {
    const float x = element(pass.type, pass.inputs, i) + pass.bias[i % pass.columns];
    set_element(pass.type, pass.outputs, i, Gelu(x).value);
  }
}

void reference_bias_gelu_backward(const BiasGeluBackward& pass) {
  const auto each = rows_of_chunk(pass.rows, kBiasGeluChunks);
  const auto chunks = row_chunks(pass.rows, kBiasGeluChunks);
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const auto begin = chunk * each, end = std::min(pass.rows, begin + each);
    for (std::int64_t column = 0; column < pass.columns; ++column) {
      std::array<float, 8> sums{};
      for (auto row = begin; row < end; ++row) {
        const auto i = row * pass.columns + column;
        const float x = element(pass.type, pass.inputs, i) + pass.bias[column];
        const float change = element(pass.type, pass.gradient, i) * Gelu(x).slope;
        set_element(pass.type, pass.by_inputs, i, change);
        sums[static_cast<std::size_t>((row - begin) % 8)] += change;
      }
      pass.partials[chunk * pass.columns + column] = halved(sums);
    }
  }
  fold_chunks(pass.partials, chunks, pass.columns, pass.by_bias);
}

void reference_layer_norm(const LayerNormForward& pass) {
  const auto count = static_cast<float>(pass.columns);
  for (std::int64_t row = 0; row < pass.rows; ++row) {
    const auto first = row * pass.columns;
    const float* values = pass.residual + first;
    RowSum sum(pass.columns), squares(pass.columns);
    if (pass.branch != nullptr) {
      for (std::int64_t i = first; i < first + pass.columns; ++i) {
        pass.sum[i] = pass.residual[i] + element(pass.type, pass.branch, i);
      }
      values = pass.sum + first;
    }
    for (std::int64_t column = 0; column < pass.columns; ++column) sum.add(column, values[column]);
    const float mean = sum.total() / count;
    for (std::int64_t column = 0; column < pass.columns; ++column) {
      const float distance = values[column] - mean;
      squares.add(column, distance * distance);
    }
    const float rstd = 1 / std::sqrt(squares.total() / count + pass.eps);
    for (std::int64_t column = 0; column < pass.columns; ++column) {
      const float standard = (values[column] - mean) * rstd;
      set_element(pass.type, pass.normed, first + column,
                  standard * pass.weight[column] + pass.bias[column]);
    }
    pass.mean[row] = mean;
    pass.rstd[row] = rstd;
  }
}

void reference_layer_norm_backward(const LayerNormBackward& pass) {
  const auto count = static_cast<float>(pass.columns);
  const auto each = rows_of_chunk(pass.rows, kLayerNormChunks);
  const auto chunks = row_chunks(pass.rows, kLayerNormChunks);
  std::fill_n(pass.partials, chunks * 2 * pass.columns, 0.0F);
  for (std::int64_t row = 0; row < pass.rows; ++row) {
    const auto first = row * pass.columns;
    const float mean = pass.mean[row], rstd = pass.rstd[row];
    float* by_weight = pass.partials + row / each * 2 * pass.columns;
    float* by_bias = by_weight + pass.columns;
    RowSum sum(pass.columns), products(pass.columns);
    for (std::int64_t column = 0; column < pass.columns; ++column) {
      const float gradient = element(pass.type, pass.by_normed, first + column);
      const float standard = (pass.sum[first + column] - mean) * rstd;
      const float weighted = gradient * pass.weight[column];
      by_weight[column] += gradient * standard;
      by_bias[column] += gradient;
      sum.add(column, weighted);
      products.add(column, weighted * standard);
    }
    const float mean_gradient = sum.total() / count, mean_product = products.total() / count;
    for (std::int64_t column = 0; column < pass.columns; ++column) {
      const auto i = first + column;
      const float standard = (pass.sum[i] - mean) * rstd;
      const float weighted = element(pass.type, pass.by_normed, i) * pass.weight[column];
      float change = rstd * (weighted - mean_gradient - standard * mean_product);
      if (pass.by_sum != nullptr) change += pass.by_sum[i];
      pass.by_residual[i] = change;
      if (pass.by_branch != nullptr) set_element(pass.type, pass.by_branch, i, change);
    }
  }
  fold_chunks(pass.partials, chunks, 2 * pass.columns, pass.by_parameters);
}

void reference_dropout(const DropoutPass& pass) {
  std::vector<float> mask(static_cast<std::size_t>(pass.count));
  fill_dropout_mask(mask.data(), pass.count, pass.probability, *pass.key);
  for (std::int64_t i = 0; i < pass.count; ++i) {
    set_element(pass.type, pass.outputs, i,
                element(pass.type, pass.inputs, i) * mask[static_cast<std::size_t>(i)]);
  }
}

}  // namespace lockstep::trainer
