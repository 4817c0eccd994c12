// The residual networks' shape: parameter names that checkpoints hold, counts and image sizes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "trainer/model.hpp"
#include "trainer/models/models.hpp"

namespace lockstep::trainer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<Model> make(const std::string& name, std::vector<std::int64_t> channels,
                            std::vector<std::int64_t> image, std::int64_t classes = 10) {
  configs::ModelConfig config;
  config.name = name;
  config.channels = std::move(channels);
  return models::make_model(config, {.input_shape = std::move(image), .outputs = classes});
}

std::int64_t parameter_count(const Model& model) {
  std::int64_t count = 0;
  for (const auto& parameter : model.parameters()) count += parameter.numel();
  return count;
}

std::vector<std::string> parameter_names(const Model& model) {
  return model.named_parameters().keys();
}

torch::Tensor forward(Model& model, const torch::Tensor& images) {
  const torch::NoGradGuard no_grad;
  model.eval();
  return model.forward(images, {});
}

TEST(ResNet, HasAsManyParametersAsThePaper) {
  EXPECT_EQ(parameter_count(*make("resnet50", {}, {3, 224, 224}, 1000)), 25'557'032);
  EXPECT_EQ(parameter_count(*make("resnet18", {}, {3, 32, 32}, 10)), 11'173'962);
}

TEST(ResNet, KeepsTheNamesThatCheckpointsHold) {
  EXPECT_THAT(
      parameter_names(*make("resnet18", {8}, {3, 8, 8})),
      ElementsAre(
          "stem.weight", "stem_norm.weight", "stem_norm.bias", "stage0_block0.conv1.weight",
          "stage0_block0.norm1.weight", "stage0_block0.norm1.bias", "stage0_block0.conv2.weight",
          "stage0_block0.norm2.weight", "stage0_block0.norm2.bias", "stage0_block1.conv1.weight",
          "stage0_block1.norm1.weight", "stage0_block1.norm1.bias", "stage0_block1.conv2.weight",
          "stage0_block1.norm2.weight", "stage0_block1.norm2.bias", "head.weight", "head.bias"));
  EXPECT_THAT(
      parameter_names(*make("resnet50", {8}, {3, 32, 32})),
      testing::IsSupersetOf({"stage0_block0.conv3.weight", "stage0_block0.shortcut.weight",
                             "stage0_block0.shortcut_norm.bias", "stage0_block2.norm3.bias"}));
}

TEST(ResNet, HasItsStrideInTheBottlenecks3x3Convolution) {
  const auto model = make("resnet50", {8, 16}, {3, 32, 32});
  const auto shape_of = [&](const std::string& name) {
    return model->named_parameters()[name].sizes().vec();
  };

  EXPECT_THAT(shape_of("stem.weight"), ElementsAre(8, 3, 7, 7));
  EXPECT_THAT(shape_of("stage1_block0.conv1.weight"), ElementsAre(16, 32, 1, 1));
  EXPECT_THAT(shape_of("stage1_block0.conv2.weight"), ElementsAre(16, 16, 3, 3));
  EXPECT_THAT(shape_of("stage1_block0.conv3.weight"), ElementsAre(64, 16, 1, 1));
  EXPECT_THAT(shape_of("stage1_block0.shortcut.weight"), ElementsAre(64, 32, 1, 1));
  for (const auto& module : model->named_modules()) {
    const auto* convolution = module.value()->as<torch::nn::Conv2d>();
    if (convolution == nullptr) continue;
    const auto& name = module.key();
    const bool strided =
        name == "stem" || name == "stage1_block0.conv2" || name == "stage1_block0.shortcut";
    EXPECT_EQ(convolution->options.stride()->at(0), strided ? 2 : 1) << name;
  }
}

TEST(ResNet, TakesImagesOfAnySizeFromItsSmallestOn) {
  const auto model = make("resnet50", {4, 4, 8, 8}, {3, 33, 70}, 5);

  EXPECT_THAT(forward(*model, torch::randn({2, 3, 33, 70})).sizes().vec(), ElementsAre(2, 5));
  for (const auto& [name, image, text] :
       {std::tuple("resnet50", std::vector<std::int64_t>{3, 31, 64}, "at least 32"),
        std::tuple("resnet18", std::vector<std::int64_t>{3, 7, 8}, "at least 8")}) {
    try {
      make(name, {}, image);
      ADD_FAILURE() << name << " took a smaller image";
    } catch (const base::ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr(text));
      EXPECT_THAT(error.what(), HasSubstr(name));
    }
  }
}

}  // namespace
}  // namespace lockstep::trainer
