#pragma once
// What the kernels of layers are given (layer_kernels.hpp), as C++17 and plain, for nvcc. All
// pointers are the device's and none owns; matrices are dense, row by row. Made by fused_layers.

#include <cstdint>

namespace lockstep::trainer {

/// Of tensors in memory: arithmetic is f32, and what is stored is rounded to the nearest, ties to
/// even.
enum class ElementType { kFloat32, kBFloat16, kFloat16 };

/// out = gelu(in + bias) in its tanh form (Hendrycks and Gimpel 2016, section 2).
struct BiasGeluForward {
  ElementType type = ElementType::kFloat32;  ///< of inputs and outputs
  std::int64_t rows = 0, columns = 0;
  const void* inputs = nullptr;  ///< [rows, columns]
  const float* bias = nullptr;   ///< [columns]
  void* outputs = nullptr;       ///< [rows, columns]
};

struct BiasGeluBackward {
  ElementType type = ElementType::kFloat32;  ///< of inputs, gradient and by_inputs
  std::int64_t rows = 0, columns = 0;
  const void* inputs = nullptr;    ///< [rows, columns]
  const float* bias = nullptr;     ///< [columns]
  const void* gradient = nullptr;  ///< [rows, columns], by the outputs
  void* by_inputs = nullptr;       ///< [rows, columns], written
  float* by_bias = nullptr;   ///< [columns], written: the sums of by_inputs before it is rounded
  float* partials = nullptr;  ///< [row_chunks(rows, kBiasGeluChunks), columns], overwritten
};

/// sum = branch + residual; normed = (sum - mean) / sqrt(variance + eps) * weight + bias, over each
/// row (Ba, Kiros, Hinton 2016).
struct LayerNormForward {
  ElementType type = ElementType::kFloat32;  ///< of branch and normed
  std::int64_t rows = 0, columns = 0;        ///< columns: 1 .. kMostNormColumns
  float eps = 0;
  const void* branch = nullptr;     ///< [rows, columns]; null: the residual is the sum
  const float* residual = nullptr;  ///< [rows, columns]
  const float* weight = nullptr;    ///< [columns]
  const float* bias = nullptr;      ///< [columns]
  float* sum = nullptr;             ///< [rows, columns]; null without a branch
  void* normed = nullptr;           ///< [rows, columns]
  float* mean = nullptr;            ///< [rows]
  float* rstd = nullptr;            ///< [rows], 1 / sqrt(variance + eps)
};

struct LayerNormBackward {
  ElementType type = ElementType::kFloat32;  ///< of by_normed and by_branch
  std::int64_t rows = 0, columns = 0;        ///< columns: 1 .. kMostNormColumns
  const float* sum = nullptr;                ///< [rows, columns]
  const float* mean = nullptr;               ///< [rows]
  const float* rstd = nullptr;               ///< [rows]
  const float* weight = nullptr;             ///< [columns]
  const void* by_normed = nullptr;           ///< [rows, columns]
  const float* by_sum = nullptr;  ///< [rows, columns], what reaches the sum directly; null: nothing
  float* by_residual = nullptr;   ///< [rows, columns], written
  void* by_branch = nullptr;  ///< [rows, columns], written: by_residual in `type`; null: not wanted
  float* by_parameters = nullptr;  ///< [2, columns], written: by weight, then by bias
  float* partials = nullptr;  ///< [row_chunks(rows, kLayerNormChunks), 2, columns], overwritten
};

/// out[i] = in[i] * mask[i], with the mask of fill_dropout_mask: forward and backward.
struct DropoutPass {
  ElementType type = ElementType::kFloat32;
  std::int64_t count = 0;
  double probability = 0;              ///< in [0, 1)
  const std::uint64_t* key = nullptr;  ///< one number, read when the kernel runs
  const void* inputs = nullptr;        ///< [count]
  void* outputs = nullptr;             ///< [count]; may be `inputs`
};

// Gradients of vectors are added chunk by chunk of rows, and then the chunks: the number of chunks
// depends on the rows alone, and so does the order. It is what a large GPU has room for at a time.
// Do not change: it decides the bits of a run.
constexpr std::int64_t kBiasGeluChunks = 256;
constexpr std::int64_t kLayerNormChunks = 1024;

/// Rows of each chunk but the last, when there are at most `most` chunks.
constexpr std::int64_t rows_of_chunk(std::int64_t rows, std::int64_t most) {
  return rows <= most ? 1 : (rows + most - 1) / most;
}
constexpr std::int64_t row_chunks(std::int64_t rows, std::int64_t most) {
  const std::int64_t each = rows_of_chunk(rows, most);
  return (rows + each - 1) / each;
}

/// A row is added by lanes that take four neighbours at a time, in two turns at most.
constexpr std::int64_t kMostNormColumns = 8192;
/// A power of two from 32 to 1024.
constexpr int norm_lanes(std::int64_t columns) {
  int lanes = 32;
  while (lanes * std::int64_t{8} < columns) lanes *= 2;
  return lanes;
}

}  // namespace lockstep::trainer
