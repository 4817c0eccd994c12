#include "configs/writer.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "configs/knob_table.hpp"
#include "tests/configs/reading.hpp"

namespace lockstep::configs {
namespace {

/// Any text a knob may hold: words, signs that YAML gives a meaning to, characters of all planes.
std::string any_text() {
  static const std::vector<std::string> kPieces{
      "a",      "Z",      "0",      "9",      " ",      "-",      ":",          "#",
      "\"",     "\\",     "'",      "{",      "}",      "[",      "]",          ",",
      "&",      "*",      "!",      "|",      ">",      "%",      "@",          "`",
      "~",      "null",   "yes",    "${",     "$${",    "env:",   "$",          "train.seed",
      ".",      "/",      "1e3",    "<<",     "\u00e9", "\u20ac", "\U0001f600", "\u0085",
      "\u2028", "\u2029", "\ufeff", "\ufffe", "\uffff"};
  std::string text;
  for (const auto& piece :
       *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(kPieces))) {
    text += piece;
  }
  return text;
}

double any_number(const Knob& knob) {
  const auto low = std::max({knob.least, knob.above, -1e30});
  const auto high = std::min({knob.most, knob.below, 1e30});
  const auto part = *rc::gen::inRange<std::int64_t>(1, 1'000'000'007);
  const auto value = low + (high - low) * (static_cast<double>(part) / 1'000'000'007.0);
  return *rc::gen::element(value, value / 3, std::isfinite(knob.least) ? knob.least : value);
}

struct Fill {
  const Knob& knob;

  void operator()(std::string* value) const {
    *value = knob.names.empty() ? any_text() : *rc::gen::elementOf(knob.names);
  }
  void operator()(std::int64_t* value) const {
    const auto high = static_cast<std::int64_t>(std::min(knob.most, 9e18));
    *value = *rc::gen::inRange(static_cast<std::int64_t>(knob.least), high);
  }
  void operator()(double* value) const {
    *value = any_number(knob);
    if (!(*value > knob.above && *value >= knob.least)) *value = 0.5;
  }
  void operator()(bool* value) const { *value = *rc::gen::arbitrary<bool>(); }
  template <class T>
  void operator()(std::vector<T>* values) const {
    values->resize(*rc::gen::inRange<std::size_t>(0, 4));
    for (auto& value : *values) (*this)(&value);
  }
};

/// Any configuration that the reader would accept.
RunConfig any_config() {
  RunConfig config;
  for (auto& row : knob_table(config).knobs) std::visit(Fill{row.knob}, row.field);
  auto& train = config.train;
  train.micro_batch = *rc::gen::inRange<std::int64_t>(0, 1000);
  train.global_batch =
      std::max<std::int64_t>(1, train.micro_batch) * *rc::gen::inRange<std::int64_t>(1, 100);
  config.launch.ranks = 1;
  if (train.micro_batch == 0) train.reduction = "fast";
  (*rc::gen::arbitrary<bool>() ? train.epochs : train.steps) = 0;
  if (train.epochs == 0 && train.steps == 0) train.epochs = 1;
  train.optimizer.betas = {0.25, 0.75};
  if (train.optimizer.name != "sgd") train.optimizer.momentum = 0;
  if (train.optimizer.momentum == 0) train.optimizer.nesterov = false;
  train.schedule.step_size = std::max<std::int64_t>(1, train.schedule.step_size);
  if (config.data.one_hot && train.loss == "cross_entropy") train.loss = "mse";
  if (train.loss == "mse" || config.data.one_hot) train.label_smoothing = 0;
  if (config.model.name == "gpt") {
    config.model.width = config.model.heads * 8;
    config.data.augment = {};
    config.data.one_hot = false;
  }
  if (config.model.name == "cnn") config.model.hidden.clear();
  config.data.train.emplace_back("x");
  config.data.std.resize(std::min<std::size_t>(1, config.data.std.size()));
  config.run.name = "n" + std::to_string(train.seed);
  config.run.directory += "d";
  return config;
}

RC_GTEST_PROP(ToYaml, ReadsBackAsTheSameConfiguration, ()) {
  const auto config = any_config();

  const auto text = to_yaml(config, nullptr);

  try {
    RC_ASSERT(read_text(text).config == config);
  } catch (const ConfigErrors& errors) {
    RC_FAIL(std::string(errors.what()) + text);
  }
}

TEST(ToYaml, WritesOriginsAsCommentsThatDoNotChangeTheReading) {
  const auto loaded = read_small({"train.seed=3", "data.test=\"a # b\""});

  const auto text = to_yaml(loaded.config, &loaded.origins);

  EXPECT_NE(text.find("  seed: 3  # override 'train.seed=3'\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  epochs: 1  # exp.yaml:4:17\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  steps: 0  # default\n"), std::string::npos) << text;
  EXPECT_EQ(read_text(text).config, loaded.config);
}

TEST(ToYaml, KeepsALineBreakOfAnOverrideInsideItsComment) {
  const auto loaded = read_small({"train.optimizer={\n lr: 0.5}"});

  EXPECT_EQ(read_text(to_yaml(loaded.config, &loaded.origins)).config, loaded.config);
}

TEST(ToYaml, CanBeRunAgainWithoutMicroBatches) {
  const auto loaded = read_small({"~train.micro_batch"});

  EXPECT_EQ(read_text(to_yaml(loaded.config, nullptr)).config, loaded.config);
}

TEST(ToJson, NestsSections) {
  const auto json = to_json(read_small({"model.hidden=[3]"}).config);

  EXPECT_EQ(json["train"]["optimizer"]["name"], "adamw");
  EXPECT_EQ(json["train"]["epochs"], 1);
  EXPECT_EQ(json["model"]["hidden"], nlohmann::json::array({3}));
  EXPECT_EQ(json["data"]["shuffle"], true);
}

TEST(ConfigHash, IsTheSameForWhatDoesNotChangeTheResult) {
  const auto hash = config_hash(read_small({}).config);

  EXPECT_EQ(
      config_hash(read_small({"launch.ranks=4", "launch.launcher=mpirun", "run.name=a",
                              "run.directory=elsewhere", "log.metrics_every_steps=7",
                              "checkpoint.keep=9", "evaluate.every_steps=3",
                              "data.train=/moved/a.h5", "data.test=b.h5", "data.queue_depth=9"})
                      .config),
      hash);
}

TEST(ConfigHash, ChangesWithEachKnobThatMayChangeTheResult) {
  const auto hash = config_hash(read_small({}).config);

  for (const auto* knob :
       {"train.seed=2", "train.epochs=2", "train.micro_batch=4", "train.optimizer.lr=0.5",
        "model.hidden=[4]", "data.shuffle=false", "compute.threads=2", "compute.device=cpu",
        "train.reduction=fast", "data.mean=0.5", "train.schedule.name=cosine",
        "data.augment.flip=0.5", "data.one_hot=true", "data.token_windows=shifted"}) {
    EXPECT_NE(config_hash(read_small({knob}).config), hash) << knob;
  }
}

// Records of runs hold hashes: the same configuration must have the same one for good. When a knob
// that changes results is added, this value changes, and that is right.
TEST(ConfigHash, IsStable) {
  EXPECT_EQ(config_hash(read_small({}).config),
            "85ecec3cc0e087ab8070b304b40da6810e37311baba3cbcc15b5c7bf5d14e69c");
}

}  // namespace
}  // namespace lockstep::configs
