// Fused layers on a (fake) device compute what LibTorch's operations do one by one, and without a
// device they are those.

#include "trainer/fused_layers.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "tests/trainer/drawn_batch.hpp"
#include "tests/trainer/fake_device.hpp"
#include "trainer/dense_layer.hpp"
#include "trainer/device_forward.hpp"
#include "trainer/dropout_mask.hpp"
#include "trainer/models/models.hpp"
#include "trainer/precision.hpp"

namespace lockstep::trainer {
namespace {

/// How far a result may be from LibTorch's: a rounding or two of the type.
double tolerance(at::ScalarType type) {
  return type == at::kFloat ? 2e-6 : type == at::kHalf ? 2e-3 : 1.6e-2;
}

void expect_close(const torch::Tensor& found, const torch::Tensor& right, double tolerance) {
  ASSERT_EQ(found.sizes(), right.sizes());
  const auto exact = right.to(at::kDouble), scale = exact.abs().max().clamp_min(1);
  EXPECT_LE((found.to(at::kDouble) - exact).abs().max().item<double>(),
            tolerance * scale.item<double>());
}

/// A context whose device is the CPU, with keys 7, 8, ...
class FusedLayers : public testing::Test {
 protected:
  FusedLayers() {
    torch::manual_seed(5);
    for (std::size_t i = 0; i < keys_.size(); ++i) keys_[i] = 7 + i;
  }

  static ForwardContext plain() { return {.phase = Phase::kTraining, .generator = {}}; }
  ForwardContext on_device() {
    device_.dropouts = {.keys = keys_.data(), .count = static_cast<std::int64_t>(keys_.size())};
    return {.phase = Phase::kTraining, .generator = {}, .device = &device_};
  }

  tests::ReferenceLayers layers_;
  std::array<std::uint64_t, 3> keys_{};
  DeviceForward device_{layers_, nullptr, {}};
};

torch::Tensor normed_by(torch::nn::LayerNorm norm, const torch::Tensor& values) {
  return norm->forward(values);
}

torch::nn::LayerNorm drawn_norm(std::int64_t width) {
  torch::nn::LayerNorm norm(torch::nn::LayerNormOptions({width}).eps(1e-3));
  const torch::NoGradGuard no_grad;
  norm->weight.normal_(1, 0.3);
  norm->bias.normal_();
  return norm;
}

torch::Tensor drawn(at::IntArrayRef shape, at::ScalarType type = at::kFloat) {
  return torch::randn(shape).to(type).set_requires_grad(true);
}

TEST(LayerReference, RoundsAsTorchDoes) {
  std::vector<float> values{
      0.0F,          -0.0F,   65504,         65519.996F,   65520,
      -70000,        1e-8F,   5.9604645e-8F, 8.940697e-8F, 2.9802322e-8F,
      6.1035156e-5F, 6.1e-5F, 1e38F,         3.4e38F,      std::numeric_limits<float>::infinity()};
  for (std::uint32_t bits = 0x30000000; bits < 0x48000000; bits += 12289) {
    values.push_back(std::bit_cast<float>(bits));
    values.push_back(-std::bit_cast<float>(bits & 0xFFFFF000));  // ties of f16
  }
  const auto all = torch::tensor(values);
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const auto element_type = type == at::kHalf ? ElementType::kFloat16 : ElementType::kBFloat16;
    auto rounded = torch::empty(all.sizes(), type), back = torch::empty_like(all);
    for (std::int64_t i = 0; i < all.numel(); ++i) {
      set_element(element_type, rounded.mutable_data_ptr(), i, values[static_cast<std::size_t>(i)]);
      back.mutable_data_ptr<float>()[i] = element(element_type, rounded.const_data_ptr(), i);
    }
    EXPECT_TRUE(at::equal(rounded, all.to(type))) << type;
    EXPECT_TRUE(at::equal(back, rounded.to(at::kFloat))) << type;
  }
}

TEST(LayerArguments, CutRowsIntoChunksByTheirNumberAlone) {
  EXPECT_EQ(row_chunks(0, 256), 0);
  EXPECT_EQ(row_chunks(255, 256), 255);
  EXPECT_EQ(row_chunks(257, 256), 129);
  EXPECT_EQ(rows_of_chunk(257, 256), 2);
  EXPECT_EQ(row_chunks(8192, 256), 256);
  EXPECT_EQ(norm_lanes(1), 32);
  EXPECT_EQ(norm_lanes(768), 128);
  EXPECT_EQ(norm_lanes(kMostNormColumns), 1024);
}

TEST_F(FusedLayers, GeluHasTorchsValuesAndGradients) {
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    // One row a chunk, and several.
    for (const std::int64_t rows : {3, 600}) {
      torch::nn::Linear layer(20, 13);
      auto inputs = drawn({rows, 20}, type), exact = inputs.detach().clone().to(at::kDouble);
      exact.set_requires_grad(true);
      layer->weight.set_data((4 * torch::randn({13, 20})).to(type));
      const auto direction = torch::randn({rows, 13});
      const auto weight = layer->weight.detach().to(at::kDouble);
      const auto bias = layer->bias.detach().to(at::kDouble).set_requires_grad(true);

      const auto found = gelu_of_dense(inputs, layer, on_device());
      found.backward(direction.to(type));
      // The products as they were rounded, in whose place there are no others.
      const auto products = at::linear(exact, weight);
      const auto rounded = at::linear(inputs, layer->weight).detach().to(at::kDouble);
      const auto right = torch::gelu(products + (rounded - products).detach() + bias, "tanh");
      right.backward(direction.to(type).to(at::kDouble));

      EXPECT_EQ(found.scalar_type(), type);
      expect_close(found, right, tolerance(type));
      expect_close(inputs.grad(), exact.grad(), tolerance(type) * 4);
      EXPECT_EQ(layer->bias.grad().scalar_type(), at::kFloat);
      expect_close(layer->bias.grad(), bias.grad(), type == at::kFloat ? 2e-6 : 1e-4);
    }
  }
}

TEST_F(FusedLayers, GeluIsRightFarFromZero) {
  const std::vector<float> inputs{-1e4F, -12, -5, 5, 12, 1e4F}, bias(6);
  std::vector<float> outputs(6), changes(6), ones(6, 1), by_bias(6), partials(6);
  reference_bias_gelu({.rows = 1,
                       .columns = 6,
                       .inputs = inputs.data(),
                       .bias = bias.data(),
                       .outputs = outputs.data()});
  reference_bias_gelu_backward({.rows = 1,
                                .columns = 6,
                                .inputs = inputs.data(),
                                .bias = bias.data(),
                                .gradient = ones.data(),
                                .by_inputs = changes.data(),
                                .by_bias = by_bias.data(),
                                .partials = partials.data()});
  EXPECT_EQ(outputs[0], 0);
  EXPECT_NEAR(outputs[2], -2.29e-7, 1e-8);
  EXPECT_EQ(outputs[5], 1e4F);
  EXPECT_EQ(changes[0], 0);
  EXPECT_EQ(changes[4], 1);
  EXPECT_EQ(by_bias, changes);
}

TEST_F(FusedLayers, LayerNormHasTorchsValuesAndGradients) {
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    // Lanes with gaps and one that is not full; a chunk of several rows, and many lanes.
    for (const auto& [rows, width] : {std::pair(2, 30), std::pair(2050, 8), std::pair(3, 1030)}) {
      const auto norm = drawn_norm(width);
      auto branch = drawn({rows, width}, type), residual = drawn({rows, width});
      const auto by_sum = torch::randn({rows, width}), by_normed = torch::randn({rows, width});

      const auto [sum, normed] = add_layer_norm(branch, residual, norm, on_device());
      torch::autograd::backward({sum, normed}, {by_sum, by_normed.to(type)});

      const auto double_of = [](const torch::Tensor& tensor) {
        return tensor.detach().to(at::kDouble).set_requires_grad(true);
      };
      const auto exact_branch = double_of(branch), exact_residual = double_of(residual),
                 weight = double_of(norm->weight), bias = double_of(norm->bias);
      const auto right_sum = exact_residual + exact_branch;
      const auto right = at::layer_norm(right_sum, {width}, weight, bias, 1e-3);
      torch::autograd::backward({right_sum, right},
                                {by_sum.to(at::kDouble), by_normed.to(type).to(at::kDouble)});

      EXPECT_EQ(sum.scalar_type(), at::kFloat);
      EXPECT_EQ(normed.scalar_type(), type);
      expect_close(sum, right_sum, 1e-6);
      expect_close(normed, right, tolerance(type));
      expect_close(residual.grad(), exact_residual.grad(), 2e-6);
      EXPECT_EQ(branch.grad().scalar_type(), type);
      expect_close(branch.grad(), exact_branch.grad(), tolerance(type));
      expect_close(norm->weight.grad(), weight.grad(), 2e-6);
      expect_close(norm->bias.grad(), bias.grad(), 2e-6);
    }
  }
}

TEST_F(FusedLayers, LayerNormNeedsNoBranchAndNeitherOfItsGradients) {
  const auto norm = drawn_norm(12);
  auto values = drawn({4, 12}), same = values.detach().clone().set_requires_grad(true);
  const auto [sum, normed] = layer_norm(values, norm, on_device());
  EXPECT_TRUE(sum.is_same(values));
  const auto right = normed_by(norm, same);
  expect_close(normed, right, 2e-6);
  (normed * normed).sum().backward();
  (right * right).sum().backward();
  expect_close(values.grad(), same.grad(), 4e-6);

  auto branch = drawn({4, 12}), residual = drawn({4, 12});
  add_layer_norm(branch, residual, norm, on_device()).sum.sum().backward();
  EXPECT_TRUE(at::equal(branch.grad(), torch::ones({4, 12})));
  EXPECT_TRUE(at::equal(residual.grad(), torch::ones({4, 12})));
  residual.mutable_grad().zero_();
  const auto onto = add_layer_norm(branch.detach(), residual, norm, on_device()).normed;
  (onto * torch::arange(12)).sum().backward();
  EXPECT_GT(residual.grad().abs().max().item<float>(), 0);
}

TEST_F(FusedLayers, TakeTensorsThatAreNotDense) {
  const auto norm = drawn_norm(6);
  const auto branch = drawn({6, 5}).t(), residual = drawn({5, 12}).slice(1, 0, 12, 2);
  const auto found = add_layer_norm(branch, residual, norm, on_device());
  const auto right = add_layer_norm(branch, residual, norm, plain());
  expect_close(found.sum, right.sum, 1e-6);
  expect_close(found.normed, right.normed, 2e-6);
  EXPECT_TRUE(
      at::equal(dropout(branch, 0.5, on_device()), dropout(branch.contiguous(), 0.5, on_device())));
}

TEST_F(FusedLayers, SumGradientsOfVectorsInTheSameOrderWhateverWasInMemory) {
  constexpr std::int64_t kRows = 2060, kColumns = 9;
  const auto inputs = torch::randn({kRows, kColumns}), gradient = torch::randn({kRows, kColumns});
  const auto bias = torch::randn({kColumns}), mean = inputs.mean(1), rstd = torch::rand({kRows});
  auto changes = torch::empty_like(inputs);
  const auto sums = [&](float garbage) {
    auto partials = torch::full({kLayerNormChunks, 2, kColumns}, garbage);
    auto by_bias = torch::full({kColumns}, garbage), both = torch::full({2, kColumns}, garbage);
    layers_.bias_gelu_backward({.rows = kRows,
                                .columns = kColumns,
                                .inputs = inputs.const_data_ptr(),
                                .bias = bias.const_data_ptr<float>(),
                                .gradient = gradient.const_data_ptr(),
                                .by_inputs = changes.mutable_data_ptr(),
                                .by_bias = by_bias.mutable_data_ptr<float>(),
                                .partials = partials.mutable_data_ptr<float>()},
                               nullptr);
    layers_.layer_norm_backward({.rows = kRows,
                                 .columns = kColumns,
                                 .sum = inputs.const_data_ptr<float>(),
                                 .mean = mean.const_data_ptr<float>(),
                                 .rstd = rstd.const_data_ptr<float>(),
                                 .weight = bias.const_data_ptr<float>(),
                                 .by_normed = gradient.const_data_ptr(),
                                 .by_residual = changes.mutable_data_ptr<float>(),
                                 .by_parameters = both.mutable_data_ptr<float>(),
                                 .partials = partials.mutable_data_ptr<float>()},
                                nullptr);
    return at::cat({by_bias, both.flatten()});
  };
  EXPECT_TRUE(at::equal(sums(0), sums(std::numeric_limits<float>::quiet_NaN())));

  // By hand: 2060 rows are 687 chunks of three, in turn; lane l has chunks l, l + 32, ...
  std::array<float, 32> lanes{};
  for (std::int64_t chunk = 0; chunk < 687; ++chunk) {
    float sum = 0;
    for (auto row = 3 * chunk; row < std::min(kRows, 3 * chunk + 3); ++row) {
      sum += gradient[row][4].item<float>();
    }
    lanes[static_cast<std::size_t>(chunk % 32)] += sum;
  }
  for (std::size_t width = 16; width > 0; width /= 2) {
    for (std::size_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  EXPECT_EQ(sums(0)[2 * kColumns + 4].item<float>(), lanes[0]);
}

TEST_F(FusedLayers, DropoutHasTheMaskOfItsKeyInBothDirections) {
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    auto context = on_device();
    for (const std::uint64_t key : {7, 8}) {
      auto inputs = drawn({5, 41}, type);
      auto mask = torch::empty({5, 41});
      fill_dropout_mask(mask.mutable_data_ptr<float>(), mask.numel(), 0.3, key);

      const auto outputs = dropout(inputs, 0.3, context);
      const auto direction = torch::randn({5, 41}).to(type);
      outputs.backward(direction);

      EXPECT_TRUE(at::equal(outputs, (inputs.detach() * mask).to(type)));
      EXPECT_TRUE(at::equal(inputs.grad(), (direction * mask).to(type)));
    }
  }
}

TEST_F(FusedLayers, DropoutTakesKeysInTurnAndNoMoreThanThereAre) {
  const auto inputs = torch::ones({4});
  auto context = on_device();
  dropout(inputs, 0, context);
  context.phase = Phase::kEvaluation;
  dropout(inputs, 0.5, context);
  EXPECT_EQ(device_.dropouts.next, 0);
  context.phase = Phase::kTraining;
  for (std::size_t i = 0; i < keys_.size(); ++i) dropout(inputs, 0.5, context);
  EXPECT_EQ(device_.dropouts.next, 3);
  EXPECT_THROW(dropout(inputs, 0.5, context), base::InternalError);
}

TEST_F(FusedLayers, AreTorchsOperationsWithoutADevice) {
  torch::nn::Linear layer(16, 16);
  const auto norm = drawn_norm(16);
  const auto branch = torch::randn({3, 16}), residual = torch::randn({3, 16});
  const auto [sum, normed] = add_layer_norm(branch, residual, norm, plain());
  EXPECT_TRUE(at::equal(sum, residual + branch));
  EXPECT_TRUE(at::equal(normed, normed_by(norm, residual + branch)));
  EXPECT_TRUE(at::equal(layer_norm(residual, norm, plain()).normed, normed_by(norm, residual)));
  for (const bool dense_kernels : {false, true}) {
    auto context = plain();
    context.dense_kernels = dense_kernels;
    EXPECT_TRUE(at::equal(gelu_of_dense(branch, layer, context),
                          torch::gelu(dense(branch, layer, context), "tanh")));
  }
}

TEST_F(FusedLayers, AreTorchsOperationsWhereNoKernelFits) {
  const torch::nn::LayerNorm bare(torch::nn::LayerNormOptions({6}).elementwise_affine(false));
  const torch::nn::LayerNorm wide(torch::nn::LayerNormOptions({kMostNormColumns + 1}));
  const torch::nn::Linear no_bias(torch::nn::LinearOptions(6, 6).bias(false));
  const auto values = torch::randn({2, 6}), wide_values = torch::randn({1, kMostNormColumns + 1});
  EXPECT_TRUE(at::equal(add_layer_norm(values, values, bare, on_device()).normed,
                        normed_by(bare, values + values)));
  EXPECT_TRUE(
      at::equal(layer_norm(wide_values, wide, on_device()).normed, normed_by(wide, wide_values)));
  EXPECT_TRUE(at::equal(gelu_of_dense(values, no_bias, on_device()),
                        torch::gelu(at::linear(values, no_bias->weight), "tanh")));
}

TEST_F(FusedLayers, KeepTheResidualStreamLongUnderAutocast) {
  torch::nn::Linear layer(6, 6);
  const auto norm = drawn_norm(6);
  const Autocast autocast(at::kCPU, Precision::kBFloat16);
  const auto context = on_device();
  const auto first = layer_norm(torch::randn({2, 6}).to(at::kBFloat16), norm, context);
  const auto hidden = gelu_of_dense(first.normed, layer, context);
  const auto second = add_layer_norm(dropout(hidden, 0.5, context), first.sum, norm, context);
  for (const auto& [sum, normed] : {first, second}) {
    EXPECT_EQ(sum.scalar_type(), at::kFloat);
    EXPECT_EQ(normed.scalar_type(), at::kBFloat16);
  }
  EXPECT_EQ(hidden.scalar_type(), at::kBFloat16);
}

struct GptRun {
  double loss = 0;
  std::vector<torch::Tensor> gradients;
};

GptRun run_gpt(Precision precision, DeviceForward* device) {
  struct {
    configs::ModelConfig model;
    ModelShapes shapes;
    ObjectiveKind objective = ObjectiveKind::kTokens;
  } setting;
  tests::make_small_gpt(setting);
  torch::manual_seed(2);
  const auto model = models::make_model(setting.model, setting.shapes);
  const auto batch = tests::drawn_batch(setting.shapes, setting.objective, 3, 0, 11);
  const ForwardContext context{
      .phase = Phase::kTraining, .generator = at::detail::createCPUGenerator(17), .device = device};
  const auto loss = [&] {
    const Autocast autocast(at::kCPU, precision);
    return Objective(setting.objective, 0)
        .loss(model->forward(batch.inputs, context).to(at::kFloat), batch.targets);
  }();
  loss.backward();
  GptRun run{.loss = loss.item<double>(), .gradients = {}};
  for (const auto& parameter : model->parameters()) run.gradients.push_back(parameter.grad());
  return run;
}

TEST_F(FusedLayers, TrainAGptAsTorchsOperationsDo) {
  // The keys that the CPU draws: two of each layer, and the one of the embeddings.
  auto generator = at::detail::createCPUGenerator(17);
  std::array<std::uint64_t, 5> keys{};
  for (auto& key : keys) {
    key = at::check_generator<at::CPUGeneratorImpl>(generator)->random64();
  }
  for (const auto& [precision, tolerance] :
       {std::pair(Precision::kFloat32, 1e-6), std::pair(Precision::kBFloat16, 2e-2)}) {
    device_.dropouts = {.keys = keys.data(), .count = 5};
    const auto fused = run_gpt(precision, &device_), right = run_gpt(precision, nullptr);

    EXPECT_EQ(device_.dropouts.next, 5);
    EXPECT_NEAR(fused.loss, right.loss, tolerance * right.loss);
    ASSERT_EQ(fused.gradients.size(), right.gradients.size());
    for (std::size_t i = 0; i < fused.gradients.size(); ++i) {
      const auto scale = right.gradients[i].norm().item<double>() + 1e-4;
      EXPECT_LE((fused.gradients[i] - right.gradients[i]).norm().item<double>(),
                5 * tolerance * scale)
          << i;
    }
    // And once more the same bits.
    device_.dropouts.next = 0;
    const auto again = run_gpt(precision, &device_);
    EXPECT_EQ(again.loss, fused.loss);
    for (std::size_t i = 0; i < fused.gradients.size(); ++i) {
      EXPECT_TRUE(at::equal(again.gradients[i], fused.gradients[i])) << i;
    }
  }
}

}  // namespace
}  // namespace lockstep::trainer
