#pragma once
// Matrix products whose every output element is computed in one fixed order, whatever the number
// of rows, the tiling or the instruction set: a row's bits do not depend on which other rows are
// computed with it. Libraries do not promise that. Used by DenseGradients. Torch-free, any thread.

#include <cstdint>

namespace lockstep::trainer {

/// Builds of the kernels, by the instructions they need; all give the same bits.
enum class VectorLevel {
  kNone,  ///< no fused multiply-add on vectors: the kernels cannot be used
  kV3,    ///< x86-64-v3: AVX2
  kV4,    ///< x86-64-v4: AVX-512
};

/// The best that this processor has.
VectorLevel best_vector_level();
inline bool dense_kernels_available() { return best_vector_level() != VectorLevel::kNone; }

/// outputs[r][n] = bias[n] + sum over k, first to last, of inputs[r][k] * weights[n][k].
/// `..._row` counts floats from one row to the next. Outputs must not overlap the operands.
struct DenseForward {
  std::int64_t rows = 0, inputs_count = 0, outputs_count = 0;
  const float* inputs = nullptr;  ///< [rows][inputs_count]
  std::int64_t inputs_row = 0;
  const float* weights = nullptr;  ///< [outputs_count][inputs_count], dense
  const float* bias = nullptr;     ///< [outputs_count]
  float* outputs = nullptr;        ///< [rows][outputs_count]
  std::int64_t outputs_row = 0;
  bool rectify = false;  ///< negative outputs become 0; NaN stays
};
void dense_forward(const DenseForward& call, VectorLevel level = best_vector_level());

/// sums[r][c] = sum over t, first to last, of left[r * left_row + t * left_step] *
/// right[t * right_step + c]. Sums must not overlap the operands.
struct OuterSum {
  std::int64_t rows = 0, columns = 0, steps = 0;
  const float* left = nullptr;
  std::int64_t left_row = 0, left_step = 0;
  const float* right = nullptr;  ///< rows of `columns` floats
  std::int64_t right_step = 0;
  float* sums = nullptr;  ///< [rows][columns]
  std::int64_t sums_row = 0;
};
void outer_sum(const OuterSum& call, VectorLevel level = best_vector_level());

}  // namespace lockstep::trainer
