#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/writer.hpp"
#include "tests/configs/reading.hpp"

namespace lockstep::configs {
namespace {

using ::testing::ElementsAre;

LoadedConfig example(const std::string& name, std::map<std::string, std::string> variables = {}) {
  return read_config(std::string(LOCKSTEP_EXAMPLES) + "/" + name + ".yaml",
                     {.overrides = {}, .environment = std::move(variables)});
}

TEST(Examples, TheSmallestUsefulFileTrainsACnn) {
  const auto config = example("fashion_mnist").config;

  EXPECT_EQ(config.model.name, "cnn");
  EXPECT_EQ(config.model.classes, 10);
  EXPECT_THAT(config.data.train, ElementsAre("fashion-train.h5"));
  EXPECT_EQ(config.train.epochs, 3);
  EXPECT_EQ(config.train.global_batch, 256);
  EXPECT_EQ(config.train.micro_batch, 32);
  EXPECT_EQ(config.train.reduction, "invariant");
  EXPECT_EQ(config.train.optimizer.lr, 1e-3);
}

TEST(Examples, TheTunedFileSaysOnlyWhatDiffers) {
  const auto config = example("fashion_mnist_tuned").config;

  EXPECT_EQ(config.train.global_batch, 256);
  EXPECT_EQ(config.train.optimizer.name, "adamw");
  EXPECT_EQ(config.train.optimizer.lr, 2e-3);
  EXPECT_EQ(config.train.schedule.name, "cosine");
  EXPECT_EQ(config.model.hidden, std::vector<std::int64_t>{256});
  EXPECT_EQ(config.launch.ranks, 2);
}

TEST(Examples, TheDenseNetworkTakesItsFolderFromTheEnvironment) {
  EXPECT_THAT(example("mlp").config.data.train, ElementsAre("./table-train.h5"));
  EXPECT_THAT(example("mlp", {{"DATA", "/scratch"}}).config.data.train,
              ElementsAre("/scratch/table-train.h5"));
  EXPECT_TRUE(example("mlp").config.train.optimizer.nesterov);
}

TEST(Examples, TheResidualNetworkDropsItsLearningRateInSteps) {
  const auto config = example("resnet18").config;

  EXPECT_EQ(config.model.name, "resnet18");
  EXPECT_EQ(config.train.schedule.step_size, 4000);
  EXPECT_EQ(config.train.optimizer.weight_decay, 5e-4);
  EXPECT_EQ(config.data.std.size(), 3u);
  EXPECT_EQ(config.data.augment.flip, 0.5);
  EXPECT_EQ(config.data.augment.crop_padding, 4);
}

TEST(Examples, TheLargeResidualNetworkComputesInBf16OnAGpu) {
  const auto config = example("resnet50").config;

  EXPECT_EQ(config.model.name, "resnet50");
  EXPECT_EQ(config.model.classes, 1000);
  EXPECT_EQ(config.compute.device, "cuda");
  EXPECT_EQ(config.compute.precision, "bf16");
  EXPECT_EQ(config.train.global_batch % config.train.micro_batch, 0);
}

TEST(Examples, TheLanguageModelTiesItsEmbeddings) {
  const auto config = example("gpt").config;

  EXPECT_EQ(config.model.width % config.model.heads, 0);
  EXPECT_TRUE(config.model.tie_embeddings);
  EXPECT_EQ(config.train.optimizer.betas, (std::vector<double>{0.9, 0.95}));
  EXPECT_EQ(config.checkpoint.every_epochs, 0);
}

TEST(Examples, CanBeSavedAndRunAgain) {
  for (const auto* name :
       {"fashion_mnist", "fashion_mnist_tuned", "mlp", "resnet18", "resnet50", "gpt"}) {
    const auto loaded = example(name);

    const auto again = read_text(to_yaml(loaded.config, &loaded.origins));

    EXPECT_EQ(again.config, loaded.config) << name;
    EXPECT_EQ(config_hash(again.config), config_hash(loaded.config)) << name;
  }
}

}  // namespace
}  // namespace lockstep::configs
