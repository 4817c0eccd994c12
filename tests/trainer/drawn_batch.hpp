#pragma once
// Micro-batches drawn at random, a function of their seed, and a small GPT that needs all that is
// hard: for tests of training steps.

#include <ATen/CPUGeneratorImpl.h>

#include "trainer/gradient_source.hpp"
#include "trainer/models/models.hpp"
#include "trainer/objective.hpp"

namespace lockstep::tests {

inline trainer::MicroBatch drawn_batch(const trainer::ModelShapes& shapes,
                                       trainer::ObjectiveKind objective, std::int64_t samples,
                                       std::int64_t index, std::int64_t seed) {
  auto generator = at::detail::createCPUGenerator(static_cast<std::uint64_t>(seed));
  auto sizes = shapes.input_shape;
  sizes.insert(sizes.begin(), samples);
  const at::TensorOptions longs(at::kLong);
  if (shapes.tokens) {
    const auto tokens = torch::randint(0, shapes.outputs, sizes, generator, longs);
    return {index, tokens, tokens.roll(1, 1)};
  }
  return {index, torch::randn(sizes, generator),
          objective == trainer::ObjectiveKind::kRegression
              ? torch::randn({samples, shapes.outputs}, generator)
              : torch::randint(0, shapes.outputs, {samples}, generator, longs)};
}

/// Two layers with dropout and tied weights; tokens of 50.
template <class Setting>
void make_small_gpt(Setting& setting) {
  setting.model.name = "gpt";
  setting.model.layers = 2;
  setting.model.width = 32;
  setting.model.heads = 2;
  setting.model.context = 12;
  setting.model.dropout = 0.2;
  setting.model.tie_embeddings = true;
  setting.shapes = {.input_shape = {12}, .outputs = 50, .tokens = true};
  setting.objective = trainer::ObjectiveKind::kTokens;
}

}  // namespace lockstep::tests
