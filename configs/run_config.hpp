#pragma once
// Every knob of a run, once: its name, type, default and effect. The reader, the overrides, the
// reference page, the JSON Schema and the saved configuration all come from `describe` below.
// Plain values: copy freely, any thread. A class receives its own sub-struct, never all of it.

#include <cstdint>
#include <string>
#include <vector>

namespace lockstep::configs {

struct ModelConfig {
  std::string name = "mlp";
  std::int64_t classes = 0;
  std::vector<std::int64_t> hidden;
  std::string activation = "relu";
  std::vector<std::int64_t> channels;
  std::int64_t layers = 4;
  std::int64_t width = 256;
  std::int64_t heads = 4;
  std::int64_t context = 128;
  double dropout = 0.1;
  bool tie_embeddings = false;
};

struct DataConfig {
  std::string train;
  std::string test;
  std::string inputs = "x";
  std::string targets = "y";
  std::string tokens = "tokens";
  bool shuffle = true;
  double scale = 0;
  std::vector<double> mean;
  std::vector<double> std;
  std::int64_t queue_depth = 4;
};

struct OptimizerConfig {
  std::string name = "adamw";
  double lr = 1e-3;
  double momentum = 0.0;
  bool nesterov = false;
  double weight_decay = 0.0;
  std::vector<double> betas = {0.9, 0.999};
  double eps = 1e-8;
};

struct ScheduleConfig {
  std::string name = "constant";
  std::int64_t warmup_steps = 0;
  double min_lr_ratio = 0.0;
  std::int64_t step_size = 0;
  double gamma = 0.1;
};

struct TrainConfig {
  std::int64_t epochs = 0;
  std::int64_t steps = 0;
  std::int64_t global_batch = 0;
  std::int64_t micro_batch = 0;
  std::int64_t seed = 1;
  std::string reduction = "invariant";
  std::string loss = "auto";
  double label_smoothing = 0.0;
  double clip_norm = 0.0;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
};

struct EvaluateConfig {
  std::int64_t every_epochs = 1;
  std::int64_t every_steps = 0;
  std::int64_t batch = 256;
};

struct CheckpointConfig {
  std::int64_t every_steps = 0;
  std::int64_t every_epochs = 1;
  std::int64_t keep = 3;
  std::string best = "auto";
};

struct ComputeConfig {
  std::int64_t threads = 1;
  std::string device = "auto";
};

struct LaunchConfig {
  std::int64_t ranks = 1;
  std::string launcher = "auto";
  std::vector<std::string> hosts;
  double deadline_seconds = 300;
  std::int64_t ranks_per_node = 0;
};

struct RunSection {
  std::string name;
  std::string directory = "runs";
};

struct LogConfig {
  std::int64_t digest_every_steps = 0;
  std::int64_t metrics_every_steps = 1;
  double progress_seconds = 5;
};

struct RunConfig {
  ModelConfig model;
  DataConfig data;
  TrainConfig train;
  EvaluateConfig evaluate;
  CheckpointConfig checkpoint;
  ComputeConfig compute;
  LaunchConfig launch;
  RunSection run;
  LogConfig log;
};

}  // namespace lockstep::configs
