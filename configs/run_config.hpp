#pragma once
// Every knob of a run, once: its name, type, default and effect. The reader, the overrides, the
// reference page, the JSON Schema and the saved configuration all come from `describe` below.
// Plain values: copy freely, any thread. A class receives its own sub-struct, never all of it.

#include <cstdint>
#include <string>
#include <vector>

#include "configs/knob.hpp"

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

  bool operator==(const ModelConfig&) const = default;
};

template <class V, MaybeConst<ModelConfig> C>
void describe(V& v, C& c) {
  v.knob("name", c.name,
         {.effect = "which network is trained",
          .names = {"mlp", "cnn", "resnet18", "resnet50", "gpt"}});
  v.knob("classes", c.classes,
         {.effect = "outputs of a classifier; 0 takes it from the data", .least = 0, .most = 1e9});
  v.knob("hidden", c.hidden,
         {.effect = "mlp: width of each hidden layer; cnn: width of the dense layer (128 when "
                    "empty)",
          .unit = "units",
          .least = 1,
          .most = 1e9});
  v.knob("activation", c.activation,
         {.effect = "mlp: what follows each hidden layer", .names = {"relu", "gelu", "tanh"}});
  v.knob(
      "channels", c.channels,
      {.effect = "cnn, resnet18 and resnet50: channels of each stage (the model's own when empty); "
                 "resnet50 gives four times as many to the next one",
       .least = 1,
       .most = 1e9});
  v.knob("layers", c.layers, {.effect = "gpt: transformer blocks", .least = 1, .most = 10000});
  v.knob("width", c.width,
         {.effect = "gpt: embedding width, a multiple of heads", .least = 1, .most = 1e9});
  v.knob("heads", c.heads, {.effect = "gpt: attention heads", .least = 1, .most = 1e6});
  v.knob(
      "context", c.context,
      {.effect = "gpt: length of a window of tokens", .unit = "tokens", .least = 1, .most = 1e9});
  v.knob("dropout", c.dropout,
         {.effect = "gpt: part of the activations dropped while training", .least = 0, .below = 1});
  v.knob("tie_embeddings", c.tie_embeddings,
         {.effect = "gpt: one matrix for the input embedding and the output layer"});
}

struct AugmentConfig {
  double flip = 0.0;
  double vertical_flip = 0.0;
  std::int64_t crop_padding = 0;
  std::string padding = "zeros";
  std::int64_t cutout = 0;
  double noise = 0.0;

  bool operator==(const AugmentConfig&) const = default;
};

template <class V, MaybeConst<AugmentConfig> C>
void describe(V& v, C& c) {
  v.knob(
      "flip", c.flip,
      {.effect = "images: probability that left and right are exchanged", .least = 0, .most = 1});
  v.knob(
      "vertical_flip", c.vertical_flip,
      {.effect = "images: probability that top and bottom are exchanged", .least = 0, .most = 1});
  v.knob(
      "crop_padding", c.crop_padding,
      {.effect = "images: padding on each side before a random crop to the old size; 0 = no crop",
       .unit = "pixels",
       .least = 0,
       .most = 1e6});
  v.knob(
      "padding", c.padding,
      {.effect = "images: what a crop sees beyond the border: zeros before scaling, or the image "
                 "mirrored",
       .names = {"zeros", "reflect"}});
  v.knob("cutout", c.cutout,
         {.effect = "images: side of a square at a random place that is set to zeros before "
                    "scaling; 0 = none",
          .unit = "pixels",
          .least = 0,
          .most = 1e6});
  v.knob(
      "noise", c.noise,
      {.effect = "standard deviation of the noise added to each input after scaling", .least = 0});
}

struct DataConfig {
  std::vector<std::string> train;
  std::vector<std::string> test;
  std::vector<double> weights;
  std::string inputs = "x";
  std::string targets = "y";
  std::string tokens = "tokens";
  std::string token_windows = "fixed";
  bool one_hot = false;
  bool shuffle = true;
  std::string order = "exact";
  std::int64_t block_samples = 0;
  std::int64_t window_blocks = 64;
  double scale = 0;
  std::vector<double> mean;
  std::vector<double> std;
  AugmentConfig augment;
  std::int64_t queue_depth = 4;
  std::int64_t decode_threads = 1;
  std::int64_t cache_bytes = std::int64_t{1} << 30;

  bool operator==(const DataConfig&) const = default;
};

template <class V, MaybeConst<DataConfig> C>
void describe(V& v, C& c) {
  v.knob(
      "train", c.train,
      {.effect = "HDF5 file of the training samples, or several read as one, or patterns such as "
                 "shards/*.h5; required",
       .affects = Affects::kData});
  v.knob("test", c.test,
         {.effect = "HDF5 file or files of the evaluation samples; empty = no evaluation",
          .affects = Affects::kData});
  v.knob("weights", c.weights,
         {.effect = "part of each file of data.train in an epoch (any unit); empty = every sample "
                    "once",
          .above = 0});
  v.knob("inputs", c.inputs, {.effect = "dataset of the inputs, one sample a row"});
  v.knob("targets", c.targets, {.effect = "dataset of the targets; integers are classes"});
  v.knob("tokens", c.tokens, {.effect = "gpt: dataset of the tokens, one long row"});
  v.knob("token_windows", c.token_windows,
         {.effect = "gpt: where training windows begin: fixed = at multiples of model.context, "
                    "shifted = a number of tokens later that each epoch draws anew",
          .names = {"fixed", "shifted"}});
  v.knob("one_hot", c.one_hot,
         {.effect = "classes become targets of one 1 among 0s, learned as numbers (mse)"});
  v.knob("shuffle", c.shuffle,
         {.effect = "a new order of the training samples each epoch, keyed by train.seed"});
  v.knob(
      "order", c.order,
      {.effect = "how they are shuffled: exact = any sample may follow any other, block = blocks "
                 "of neighbours in random order and the samples of a window of blocks shuffled, "
                 "for compressed files larger than memory",
       .names = {"exact", "block"}});
  v.knob("block_samples", c.block_samples,
         {.effect = "order block: samples of a block; 0 = a chunk of the file's inputs, or 1024",
          .unit = "samples",
          .least = 0,
          .most = 1e12});
  v.knob("window_blocks", c.window_blocks,
         {.effect = "order block: blocks whose samples are shuffled together",
          .unit = "blocks",
          .least = 1,
          .most = 1e9});
  v.knob("scale", c.scale,
         {.effect = "factor on each input; 0 = 1/255 for bytes, 1 for everything else"});
  v.knob("mean", c.mean, {.effect = "subtracted after scaling: one number, or one a channel"});
  v.knob("std", c.std,
         {.effect = "divided by after the mean: one number, or one a channel", .above = 0});
  v.section("augment", c.augment, "random changes of training samples, keyed by train.seed");
  v.knob("queue_depth", c.queue_depth,
         {.effect = "micro-batches read ahead on each rank",
          .affects = Affects::kExecution,
          .least = 1,
          .most = 4096});
  v.knob("decode_threads", c.decode_threads,
         {.effect = "threads of each rank that decode coming samples and ask for their pages, "
                    "beside the one that reads; 0 = none",
          .affects = Affects::kExecution,
          .least = 0,
          .most = 256});
  v.knob("cache_bytes", c.cache_bytes,
         {.effect = "decoded samples of compressed files kept in memory, once a node",
          .unit = "bytes",
          .affects = Affects::kExecution,
          .least = 0,
          .most = 1e15});
}

struct OptimizerConfig {
  std::string name = "adamw";
  double lr = 1e-3;
  double momentum = 0.0;
  bool nesterov = false;
  double weight_decay = 0.0;
  std::vector<double> betas = {0.9, 0.999};
  double eps = 1e-8;

  bool operator==(const OptimizerConfig&) const = default;
};

template <class V, MaybeConst<OptimizerConfig> C>
void describe(V& v, C& c) {
  v.knob("name", c.name, {.effect = "update rule", .names = {"sgd", "adam", "adamw"}});
  v.knob("lr", c.lr, {.effect = "learning rate before the schedule", .above = 0});
  v.knob("momentum", c.momentum,
         {.effect = "sgd: part of the last update kept", .least = 0, .below = 1});
  v.knob("nesterov", c.nesterov, {.effect = "sgd: look ahead along the momentum"});
  v.knob("weight_decay", c.weight_decay,
         {.effect = "pull of each parameter to zero (adamw: apart from the gradient)", .least = 0});
  v.knob("betas", c.betas,
         {.effect = "adam and adamw: part of the running mean and mean square kept",
          .least = 0,
          .below = 1});
  v.knob("eps", c.eps, {.effect = "adam and adamw: added to the divisor", .above = 0});
}

struct ScheduleConfig {
  std::string name = "constant";
  std::int64_t warmup_steps = 0;
  double min_lr_ratio = 0.0;
  std::int64_t step_size = 0;
  double gamma = 0.1;

  bool operator==(const ScheduleConfig&) const = default;
};

template <class V, MaybeConst<ScheduleConfig> C>
void describe(V& v, C& c) {
  v.knob(
      "name", c.name,
      {.effect = "course of the learning rate", .names = {"constant", "cosine", "linear", "step"}});
  v.knob("warmup_steps", c.warmup_steps,
         {.effect = "linear rise of the learning rate at the start", .unit = "steps", .least = 0});
  v.knob("min_lr_ratio", c.min_lr_ratio,
         {.effect = "cosine and linear: where they end, as a part of lr", .least = 0, .most = 1});
  v.knob("step_size", c.step_size,
         {.effect = "step: distance between two drops", .unit = "steps", .least = 0});
  v.knob("gamma", c.gamma,
         {.effect = "step: factor on the learning rate at each drop", .above = 0, .most = 1});
}

struct DivergenceConfig {
  std::string policy = "stop";
  double loss_z = 0.0;
  double gradient_z = 0.0;
  std::int64_t window = 100;
  std::int64_t most_skips = 10;

  bool operator==(const DivergenceConfig&) const = default;
};

template <class V, MaybeConst<DivergenceConfig> C>
void describe(V& v, C& c) {
  v.knob("policy", c.policy,
         {.effect = "what a step does that diverges: stop = the run ends, skip = its update is "
                    "dropped, rollback = back to the newest checkpoint before it and past the "
                    "samples in between",
          .names = {"stop", "skip", "rollback"}});
  v.knob("loss_z", c.loss_z,
         {.effect = "a loss so many standard deviations above those of the window diverges; 0 = "
                    "only one that is no finite number",
          .least = 0});
  v.knob("gradient_z", c.gradient_z,
         {.effect = "the same for the gradient norm; 0 = only one that is no finite number",
          .least = 0});
  v.knob("window", c.window,
         {.effect = "steps before that a loss and a gradient norm are compared with",
          .unit = "steps",
          .least = 10,
          .most = 1e6});
  v.knob("most_skips", c.most_skips,
         {.effect = "steps that may be dropped before the run ends as diverged all the same",
          .unit = "steps",
          .least = 1,
          .most = 1e9});
}

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
  DivergenceConfig divergence;

  bool operator==(const TrainConfig&) const = default;
};

template <class V, MaybeConst<TrainConfig> C>
void describe(V& v, C& c) {
  v.knob("epochs", c.epochs,
         {.effect = "passes over the training data; give this or steps", .least = 0, .most = 1e9});
  v.knob("steps", c.steps,
         {.effect = "optimizer steps; give this or epochs", .unit = "steps", .least = 0});
  v.knob("global_batch", c.global_batch,
         {.effect = "samples that make one optimizer step; required",
          .unit = "samples",
          .least = 1,
          .most = 1e9});
  v.knob("micro_batch", c.micro_batch,
         {.effect = "samples of one forward and backward, a divisor of global_batch; 0 = one "
                    "micro-batch a rank, which gives up the promise",
          .unit = "samples",
          .least = 0,
          .most = 1e9});
  v.knob("seed", c.seed, {.effect = "key of every random number of the run", .least = 0});
  v.knob("reduction", c.reduction,
         {.effect = "how gradients are summed: invariant = the same bits on any number of ranks, "
                    "fast = without that promise",
          .names = {"invariant", "fast"}});
  v.knob("loss", c.loss,
         {.effect = "what is minimised; auto = cross_entropy for integer targets, else mse",
          .names = {"auto", "cross_entropy", "mse"}});
  v.knob("label_smoothing", c.label_smoothing,
         {.effect = "cross_entropy: part of each target spread over all classes",
          .least = 0,
          .below = 1});
  v.knob("clip_norm", c.clip_norm,
         {.effect = "largest global norm of the gradient; 0 = no clipping", .least = 0});
  v.section("optimizer", c.optimizer, "how parameters are updated");
  v.section("schedule", c.schedule, "how the learning rate moves");
  v.section("divergence", c.divergence, "what happens when training diverges");
}

struct EvaluateConfig {
  std::int64_t every_epochs = 1;
  std::int64_t every_steps = 0;
  std::int64_t batch = 256;

  bool operator==(const EvaluateConfig&) const = default;
};

template <class V, MaybeConst<EvaluateConfig> C>
void describe(V& v, C& c) {
  v.knob("every_epochs", c.every_epochs,
         {.effect = "evaluate after so many epochs; 0 = not by epochs",
          .unit = "epochs",
          .affects = Affects::kExecution,
          .least = 0});
  v.knob("every_steps", c.every_steps,
         {.effect = "evaluate after so many steps; 0 = not by steps",
          .unit = "steps",
          .affects = Affects::kExecution,
          .least = 0});
  v.knob("batch", c.batch,
         {.effect = "samples of one forward pass when evaluating and predicting",
          .unit = "samples",
          .affects = Affects::kExecution,
          .least = 1,
          .most = 1e9});
}

struct CheckpointConfig {
  std::string every = "given";
  std::int64_t every_steps = 0;
  std::int64_t every_epochs = 1;
  double every_seconds = 0;
  std::int64_t keep = 3;
  std::int64_t keep_every_steps = 0;
  std::string best = "auto";
  bool background = true;
  bool in_memory = true;

  bool operator==(const CheckpointConfig&) const = default;
};

template <class V, MaybeConst<CheckpointConfig> C>
void describe(V& v, C& c) {
  v.knob("every", c.every,
         {.effect = "when to save besides the knobs below: given = only by them, auto = as often "
                    "as the measured cost of a save makes best (Young 1974, Daly 2006)",
          .affects = Affects::kExecution,
          .names = {"given", "auto"}});
  v.knob("every_steps", c.every_steps,
         {.effect = "save after so many steps; 0 = not by steps",
          .unit = "steps",
          .affects = Affects::kExecution,
          .least = 0});
  v.knob("every_epochs", c.every_epochs,
         {.effect = "save after so many epochs; 0 = not by epochs",
          .unit = "epochs",
          .affects = Affects::kExecution,
          .least = 0});
  v.knob("every_seconds", c.every_seconds,
         {.effect = "save after so much time since the last save began; 0 = not by time",
          .unit = "s",
          .affects = Affects::kExecution,
          .least = 0,
          .most = 1e7});
  v.knob("keep", c.keep,
         {.effect = "newest checkpoints that stay; the best one stays besides",
          .affects = Affects::kExecution,
          .least = 1,
          .most = 1e6});
  v.knob("keep_every_steps", c.keep_every_steps,
         {.effect = "checkpoints of steps divisible by this stay for good; 0 = none",
          .unit = "steps",
          .affects = Affects::kExecution,
          .least = 0});
  v.knob("best", c.best,
         {.effect = "metric that says which checkpoint is best; auto = accuracy for classes, "
                    "else loss; none = keep no best one",
          .affects = Affects::kExecution,
          .names = {"auto", "none", "loss", "accuracy", "perplexity", "mae"}});
  v.knob("background", c.background,
         {.effect = "write checkpoints while training goes on, from a copy of each rank's share",
          .affects = Affects::kExecution});
  v.knob("in_memory", c.in_memory,
         {.effect = "keep the last finished step in the node's shared memory too, so that a rank's "
                    "crash costs that step and no more; takes the state's size once more, and "
                    "checkpoints are written from there without a copy",
          .affects = Affects::kExecution});
}

struct ComputeConfig {
  std::int64_t threads = 1;
  std::string device = "auto";
  bool share_devices = false;
  bool bind = true;
  std::string precision = "f32";
  double loss_scale = 65536;
  std::int64_t loss_scale_steps = 2000;
  bool activation_checkpointing = false;
  bool cuda_graphs = true;
  bool dense_kernels = true;

  bool operator==(const ComputeConfig&) const = default;
};

template <class V, MaybeConst<ComputeConfig> C>
void describe(V& v, C& c) {
  v.knob(
      "threads", c.threads,
      {.effect = "threads of one micro-batch's arithmetic on the CPU", .least = 1, .most = 4096});
  v.knob("device", c.device,
         {.effect = "where a rank computes; auto = a GPU when there is one",
          .names = {"auto", "cpu", "cuda"}});
  v.knob("precision", c.precision,
         {.effect = "what a GPU computes with: f32, or bf16 or f16 where that is exact enough; "
                    "parameters, sums of gradients and optimizer states are f32 either way",
          .names = {"f32", "bf16", "f16"}});
  v.knob("loss_scale", c.loss_scale,
         {.effect = "f16: factor on the loss at the start, so that small gradients do not vanish, "
                    "rounded down to a power of two; halved when gradients overflow, and that "
                    "step's update left out",
          .least = 1,
          .most = 1e12});
  v.knob("loss_scale_steps", c.loss_scale_steps,
         {.effect = "f16: steps without overflow after which the factor doubles",
          .unit = "steps",
          .least = 1,
          .most = 1e9});
  v.knob("activation_checkpointing", c.activation_checkpointing,
         {.effect = "gpt: keep only the inputs of each block and compute the rest again in the "
                    "backward pass; less memory, a third more arithmetic, the same bits",
          .affects = Affects::kExecution});
  v.knob("cuda_graphs", c.cuda_graphs,
         {.effect = "on a GPU: capture a micro-batch's kernels once and launch them as one, where "
                    "nothing is exchanged meanwhile; with several GPUs and a large model that "
                    "takes the memory of its activations twice",
          .affects = Affects::kExecution});
  v.knob("share_devices", c.share_devices,
         {.effect = "let ranks of a host share a GPU when there are fewer, to evaluate and predict",
          .affects = Affects::kExecution});
  v.knob("bind", c.bind,
         {.effect = "bind a rank's threads and memory to the NUMA node of its GPU, where there are "
                    "several",
          .affects = Affects::kExecution});
  v.knob("dense_kernels", c.dense_kernels,
         {.effect = "with compute.threads 1: Lockstep's own kernels for dense layers, faster than "
                    "LibTorch's; an mlp's parameters then do not depend on train.micro_batch"});
}

struct LaunchConfig {
  std::int64_t ranks = 1;
  std::string launcher = "auto";
  std::vector<std::string> hosts;
  double deadline_seconds = 300;
  double hang_seconds = 0;
  double wall_limit = 0;
  std::int64_t restarts = 3;
  std::int64_t min_ranks = 0;
  std::int64_t ranks_per_node = 0;

  bool operator==(const LaunchConfig&) const = default;
};

template <class V, MaybeConst<LaunchConfig> C>
void describe(V& v, C& c) {
  v.knob("ranks", c.ranks,
         {.effect = "processes that share the work",
          .affects = Affects::kExecution,
          .least = 1,
          .most = 1e6});
  v.knob("launcher", c.launcher,
         {.effect = "what starts the ranks; auto = srun inside a Slurm job, local for one rank, "
                    "else mpirun",
          .affects = Affects::kExecution,
          .names = {"auto", "local", "mpirun", "srun"}});
  v.knob("hosts", c.hosts,
         {.effect = "hosts with their slots (`a:4`); empty = this host",
          .affects = Affects::kExecution});
  v.knob("deadline_seconds", c.deadline_seconds,
         {.effect = "longest wait of a rank for the others before the run is brought down",
          .unit = "s",
          .affects = Affects::kExecution,
          .above = 0,
          .most = 1e7});
  v.knob("hang_seconds", c.hang_seconds,
         {.effect = "longest time without progress before a run counts as hung and is restarted; 0 "
                    "= learned from its steps",
          .unit = "s",
          .affects = Affects::kExecution,
          .least = 0,
          .most = 1e7});
  v.knob("wall_limit", c.wall_limit,
         {.effect = "time after which the run has saved its state and ended with code 75; 0 = none",
          .unit = "s",
          .affects = Affects::kExecution,
          .least = 0,
          .most = 1e9});
  v.knob("restarts", c.restarts,
         {.effect = "restarts after crashes and hangs, as long as each gets further than the one "
                    "before; 0 = none",
          .affects = Affects::kExecution,
          .least = 0,
          .most = 1e6});
  v.knob("min_ranks", c.min_ranks,
         {.effect = "fewest ranks that a restart may go on with when hosts are lost; 0 = as many "
                    "as launch.ranks",
          .affects = Affects::kExecution,
          .least = 0,
          .most = 1e6});
  v.knob("ranks_per_node", c.ranks_per_node,
         {.effect = "ranks on each host; 0 = as many as its slots",
          .affects = Affects::kExecution,
          .least = 0,
          .most = 1e6});
}

struct RunSection {
  std::string name;
  std::string directory = "runs";

  bool operator==(const RunSection&) const = default;
};

template <class V, MaybeConst<RunSection> C>
void describe(V& v, C& c) {
  v.knob(
      "name", c.name,
      {.effect = "name of the run's directory; empty = two words", .affects = Affects::kExecution});
  v.knob("directory", c.directory,
         {.effect = "where run directories are made", .affects = Affects::kExecution});
}

struct LogConfig {
  std::int64_t digest_every_steps = 0;
  std::int64_t compare_nodes_every_steps = 0;
  std::int64_t metrics_every_steps = 1;
  double progress_seconds = 5;

  bool operator==(const LogConfig&) const = default;
};

template <class V, MaybeConst<LogConfig> C>
void describe(V& v, C& c) {
  v.knob("digest_every_steps", c.digest_every_steps,
         {.effect = "take the state digest into the ledger after so many steps; 0 = only at "
                    "checkpoints and the end",
          .unit = "steps",
          .affects = Affects::kExecution,
          .least = 0});
  v.knob("compare_nodes_every_steps", c.compare_nodes_every_steps,
         {.effect = "compare the nodes' copies of the parameters after so many steps, so that a "
                    "silently corrupted one is named; 0 = never",
          .unit = "steps",
          .affects = Affects::kExecution,
          .least = 0});
  v.knob("metrics_every_steps", c.metrics_every_steps,
         {.effect = "write metrics after so many steps; 0 = only evaluations",
          .unit = "steps",
          .affects = Affects::kExecution,
          .least = 0});
  v.knob("progress_seconds", c.progress_seconds,
         {.effect = "time between two progress lines where there is no terminal",
          .unit = "s",
          .affects = Affects::kExecution,
          .above = 0,
          .most = 1e7});
}

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

  bool operator==(const RunConfig&) const = default;
};

template <class V, MaybeConst<RunConfig> C>
void describe(V& v, C& c) {
  v.section("model", c.model, "what is trained");
  v.section("data", c.data, "what it is trained on");
  v.section("train", c.train, "how it is trained");
  v.section("evaluate", c.evaluate, "when and how it is evaluated");
  v.section("checkpoint", c.checkpoint, "when its state is saved");
  v.section("compute", c.compute, "what one rank computes with");
  v.section("launch", c.launch, "how ranks are started");
  v.section("run", c.run, "where the run is kept");
  v.section("log", c.log, "what is written down on the way");
}

}  // namespace lockstep::configs
