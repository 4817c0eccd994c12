// The kernels against the definition of each sum, bit for bit.

#include "trainer/dense_kernels.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace lockstep::trainer {
namespace {

std::vector<float> random_floats(std::int64_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (auto& value : values) value = normal(engine);
  return values;
}

struct Sizes {
  std::int64_t rows, columns, steps;
};

// One and many of each, around the tiles' sizes (6 rows, 64 or 16 columns, 256 steps).
std::vector<Sizes> sizes() {
  std::vector<Sizes> all;
  for (const std::int64_t rows : {1, 2, 5, 6, 7, 13}) {
    for (const std::int64_t columns : {1, 7, 8, 16, 17, 64, 83, 150}) {
      for (const std::int64_t steps : {1, 8, 13, 256, 300}) all.push_back({rows, columns, steps});
    }
  }
  return all;
}

/// The builds that this processor can run.
std::vector<VectorLevel> levels() {
  std::vector<VectorLevel> all;
  for (const auto level : {VectorLevel::kV3, VectorLevel::kV4}) {
    if (level <= best_vector_level()) all.push_back(level);
  }
  return all;
}

TEST(DenseKernels, ForwardIsOneChainOfFusedSumsForEachOutput) {
  for (const auto& [rows, outputs, inputs] : sizes()) {
    const auto row = inputs + 3, out_row = outputs + 5;
    const auto x = random_floats(rows * row, 1), w = random_floats(outputs * inputs, 2),
               bias = random_floats(outputs, 3);
    for (const bool rectify : {false, true}) {
      std::vector<float> wanted(static_cast<std::size_t>(rows * out_row), 77.0F);
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t n = 0; n < outputs; ++n) {
          float sum = bias[static_cast<std::size_t>(n)];
          for (std::int64_t k = 0; k < inputs; ++k) {
            sum = std::fma(x[static_cast<std::size_t>(r * row + k)],
                           w[static_cast<std::size_t>(n * inputs + k)], sum);
          }
          wanted[static_cast<std::size_t>(r * out_row + n)] = rectify && sum < 0 ? 0.0F : sum;
        }
      }
      for (const auto level : levels()) {
        std::vector<float> y(wanted.size(), 77.0F);
        dense_forward({.rows = rows,
                       .inputs_count = inputs,
                       .outputs_count = outputs,
                       .inputs = x.data(),
                       .inputs_row = row,
                       .weights = w.data(),
                       .bias = bias.data(),
                       .outputs = y.data(),
                       .outputs_row = out_row,
                       .rectify = rectify},
                      level);
        ASSERT_EQ(y, wanted) << "level " << static_cast<int>(level) << ", " << rows << " rows, "
                             << outputs << " outputs, " << inputs << " inputs";
      }
    }
  }
}

TEST(DenseKernels, ForwardKeepsNaNThroughRectification) {
  const float input = 1, weight = std::nanf(""), bias = 0;
  for (const auto level : levels()) {
    float output = 0;
    dense_forward({.rows = 1,
                   .inputs_count = 1,
                   .outputs_count = 1,
                   .inputs = &input,
                   .inputs_row = 1,
                   .weights = &weight,
                   .bias = &bias,
                   .outputs = &output,
                   .outputs_row = 1,
                   .rectify = true},
                  level);
    EXPECT_TRUE(std::isnan(output)) << "a diverged model would look healthy";
  }
}

TEST(DenseKernels, NothingToComputeEndsAtOnce) {
  for (const auto level : levels()) {
    dense_forward({.rows = 3}, level);
    dense_forward({.outputs_count = 3}, level);
    outer_sum({.rows = 3, .steps = 2}, level);
  }
}

TEST(DenseKernels, OuterSumRunsOverTheStepsInTheirOrder) {
  for (const auto& [rows, columns, steps] : sizes()) {
    const auto left_step = rows + 2, right_step = columns + 9, sums_row = columns + 1;
    const auto left = random_floats(steps * left_step, 4),
               right = random_floats(steps * right_step, 5);
    std::vector<float> wanted(static_cast<std::size_t>(rows * sums_row), 55.0F);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) {
        float sum = 0;
        for (std::int64_t t = 0; t < steps; ++t) {
          sum = std::fma(left[static_cast<std::size_t>(t * left_step + r)],
                         right[static_cast<std::size_t>(t * right_step + c)], sum);
        }
        wanted[static_cast<std::size_t>(r * sums_row + c)] = sum;
      }
    }
    for (const auto level : levels()) {
      std::vector<float> sums(wanted.size(), 55.0F);
      outer_sum({.rows = rows,
                 .columns = columns,
                 .steps = steps,
                 .left = left.data(),
                 .left_row = 1,
                 .left_step = left_step,
                 .right = right.data(),
                 .right_step = right_step,
                 .sums = sums.data(),
                 .sums_row = sums_row},
                level);
      ASSERT_EQ(sums, wanted) << "level " << static_cast<int>(level) << ", " << rows << " rows, "
                              << columns << " columns, " << steps << " steps";
    }
  }
}

}  // namespace
}  // namespace lockstep::trainer
