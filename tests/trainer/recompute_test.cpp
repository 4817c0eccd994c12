// Activation checkpointing: the bits of a model that keeps all, in less memory.

#include "trainer/recompute.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include "tests/trainer/counted_memory.hpp"
#include "tests/trainer/drawn_batch.hpp"
#include "trainer/models/models.hpp"

namespace lockstep::trainer {
namespace {

struct Setting {
  configs::ModelConfig model;
  ModelShapes shapes;
  ObjectiveKind objective = ObjectiveKind::kTokens;
};

struct Outcome {
  double loss = 0;
  std::vector<torch::Tensor> gradients;
  std::int64_t memory = 0;
  std::uint64_t next = 0;  // that the generator would draw
};

Outcome pass(const Setting& setting, bool recompute, std::int64_t samples = 2) {
  torch::manual_seed(1);
  const auto model = models::make_model(setting.model, setting.shapes);
  model->train();
  const auto batch = tests::drawn_batch(setting.shapes, setting.objective, samples, 0, 5);
  auto generator = at::detail::createCPUGenerator(7);
  const ForwardContext context{
      .phase = Phase::kTraining, .generator = generator, .recompute = recompute};
  const tests::CountedMemory memory;
  const auto loss =
      Objective(setting.objective, 0).loss(model->forward(batch.inputs, context), batch.targets);
  loss.backward();
  Outcome outcome{.loss = loss.item<double>(), .gradients = {}, .memory = memory.most()};
  for (const auto& parameter : model->parameters()) outcome.gradients.push_back(parameter.grad());
  outcome.next = at::check_generator<at::CPUGeneratorImpl>(generator)->random64();
  return outcome;
}

TEST(Recompute, OfAGptWithDropoutHasTheBitsOfOneThatKeepsAll) {
  Setting setting;
  tests::make_small_gpt(setting);
  setting.model.tie_embeddings = true;
  const auto whole = pass(setting, false), again = pass(setting, true);
  EXPECT_EQ(again.loss, whole.loss);
  EXPECT_EQ(again.next, whole.next) << "random numbers are drawn once";
  ASSERT_EQ(again.gradients.size(), whole.gradients.size());
  for (std::size_t i = 0; i < whole.gradients.size(); ++i) {
    EXPECT_TRUE(at::equal(again.gradients[i], whole.gradients[i])) << i;
  }
}

TEST(Recompute, TakesLessMemory) {
  Setting setting;
  tests::make_small_gpt(setting);
  setting.model.layers = 8;
  setting.model.context = 64;
  setting.shapes.input_shape = {64};
  const auto whole = pass(setting, false, 8), again = pass(setting, true, 8);
  EXPECT_LT(again.memory, whole.memory / 2);
}

TEST(Recompute, EvaluatesAsIfNotAsked) {
  Setting setting;
  tests::make_small_gpt(setting);
  torch::manual_seed(1);
  const auto model = models::make_model(setting.model, setting.shapes);
  model->eval();
  const torch::NoGradGuard no_grad;
  const auto batch = tests::drawn_batch(setting.shapes, setting.objective, 2, 0, 5);
  EXPECT_TRUE(at::equal(model->forward(batch.inputs, {.recompute = true}),
                        model->forward(batch.inputs, {})));
}

}  // namespace
}  // namespace lockstep::trainer
