#pragma once
// Datasets made from a seed, learnable and of any size: for trying out, tests and benchmarks.
// The file is a pure function of the options. Local; any thread.

#include <cstdint>
#include <string>
#include <vector>

#include "data/batch.hpp"
#include "data/dataset_writer.hpp"

namespace lockstep::data {

struct SynthOptions {
  TaskKind kind = TaskKind::kClassification;
  std::int64_t rows = 0;              ///< samples; for tokens: tokens
  std::vector<std::int64_t> shape{};  ///< of one image-like input (for example 3,32,32), u8
  std::int64_t features = 0;          ///< of one flat input, f32; give this or shape
  std::int64_t classes = 0;           ///< 0 = 10 classes, or a vocabulary of 256
  std::uint64_t seed = 1;
  std::string output;
  ColumnLayout layout{};
};

/// Classification: each class has a prototype, a sample is its class's prototype with noise; `x` u8
/// or f32, `y` i64. Regression: `x` f32 normal, `y` f32 [rows], a linear function of x with noise.
/// Tokens: `tokens` u8, a walk on a random Markov chain. Throws ConfigError for impossible options.
void synthesize(const SynthOptions& options);

}  // namespace lockstep::data
