// Loss and metrics of many outputs in pieces: those of all at once, without the memory.

#include "trainer/output_loss.hpp"

#include <gtest/gtest.h>

#include "tests/trainer/counted_memory.hpp"
#include "trainer/dense_layer.hpp"

namespace lockstep::trainer {
namespace {

constexpr std::int64_t kRows = 300, kWidth = 16, kClasses = 500;

struct Case {
  torch::Tensor features, weight, labels;
  BeforeOutputs before() const { return {features, weight}; }
};

Case drawn() {
  torch::manual_seed(3);
  return {torch::randn({3, kRows / 3, kWidth}).requires_grad_(),
          torch::randn({kClasses, kWidth}).requires_grad_(),
          torch::randint(kClasses, {3, kRows / 3})};
}

const OutputLossOptions kInPieces{.most_outputs = 128 * kClasses};
const OutputLossOptions kWhole{.most_outputs = kRows * kClasses};

double farthest(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>() / b.abs().max().item<double>();
}

TEST(OutputLoss, InPiecesIsThatOfAllAtOnce) {
  for (const double smoothing : {0.0, 0.1}) {
    for (const bool kernels : {false, true}) {
      const Objective objective(ObjectiveKind::kTokens, smoothing);
      const ForwardContext context{.phase = Phase::kTraining, .dense_kernels = kernels};
      const auto whole = drawn(), pieces = drawn();
      const auto right = output_loss(whole.before(), whole.labels, objective, context, kWhole);
      const auto loss = output_loss(pieces.before(), pieces.labels, objective, context, kInPieces);
      EXPECT_NEAR(loss.item<double>(), right.item<double>(), 1e-5);
      right.backward();
      loss.backward();
      EXPECT_LT(farthest(pieces.features.grad(), whole.features.grad()), 1e-5);
      EXPECT_LT(farthest(pieces.weight.grad(), whole.weight.grad()), 1e-5);
    }
  }
}

TEST(OutputLoss, OfAllAtOnceIsTheObjectives) {
  const Objective objective(ObjectiveKind::kTokens, 0);
  const ForwardContext context{.phase = Phase::kTraining};
  const auto one = drawn();
  const auto outputs = dense(one.features, one.weight, {}, context);
  EXPECT_TRUE(at::equal(output_loss(one.before(), one.labels, objective, context, kWhole),
                        objective.loss(outputs, one.labels)));
}

TEST(OutputLoss, HasGradientsOfALossThatIsScaled) {
  const Objective objective(ObjectiveKind::kTokens, 0);
  const ForwardContext context{.phase = Phase::kTraining};
  const auto plain = drawn(), scaled = drawn();
  auto options = kInPieces;
  output_loss(plain.before(), plain.labels, objective, context, options).backward();
  options.factor = torch::full({}, 1024.0);
  const auto loss = output_loss(scaled.before(), scaled.labels, objective, context, options);
  (loss * options.factor).backward();
  // A power of two: the very bits.
  EXPECT_TRUE(at::equal(scaled.features.grad(), plain.features.grad() * 1024));
  EXPECT_TRUE(at::equal(scaled.weight.grad(), plain.weight.grad() * 1024));
  EXPECT_LT(loss.item<double>(), 50);
}

TEST(OutputLoss, NeverHasAllOutputs) {
  const Objective objective(ObjectiveKind::kTokens, 0);
  const ForwardContext context{.phase = Phase::kTraining};
  constexpr std::int64_t kLogits = kRows * kClasses * 4;
  const auto most = [&](const OutputLossOptions& options) {
    const auto one = drawn();
    const tests::CountedMemory memory;
    output_loss(one.before(), one.labels, objective, context, options).backward();
    return memory.most();
  };
  EXPECT_GT(most(kWhole), 2 * kLogits);
  EXPECT_LT(most({.most_outputs = 64 * kClasses}), kLogits);
}

TEST(OutputLoss, MeasuresInPieces) {
  const Objective objective(ObjectiveKind::kTokens, 0);
  const ForwardContext context;
  const auto one = drawn();
  const auto right = output_sums(one.before(), one.labels, objective, context, kWhole);
  const auto sums = output_sums(one.before(), one.labels, objective, context, kInPieces);
  EXPECT_EQ(sums.count, kRows);
  EXPECT_EQ(sums.correct, right.correct);
  EXPECT_NEAR(sums.loss, right.loss, 1e-4 * right.loss);
}

TEST(OutputLoss, TakesOutputsThatAreThere) {
  const Objective objective(ObjectiveKind::kRegression, 0);
  const auto outputs = torch::randn({4, 3}), targets = torch::randn({4, 3});
  EXPECT_TRUE(at::equal(
      output_loss({.features = outputs, .weight = {}}, targets, objective, {}, {.most_outputs = 1}),
      objective.loss(outputs, targets)));
}

}  // namespace
}  // namespace lockstep::trainer
