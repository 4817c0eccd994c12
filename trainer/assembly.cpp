#include "trainer/assembly.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>

#include <mutex>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/hash.hpp"
#include "base/philox.hpp"
#include "base/text.hpp"
#include "comm/agreement.hpp"
#include "data/dataset_paths.hpp"
#include "data/fingerprint.hpp"
#include "trainer/batch_tensors.hpp"
#include "trainer/models/models.hpp"

namespace lockstep::trainer {
namespace {

data::AugmentationOptions augmentation_of(const configs::AugmentConfig& config) {
  return {.flip = config.flip,
          .vertical_flip = config.vertical_flip,
          .crop_padding = config.crop_padding,
          .padding = config.padding == "reflect" ? data::Padding::kReflect : data::Padding::kFill,
          .cutout = config.cutout,
          .noise = config.noise};
}

struct DataAccess {
  data::Fingerprinting fingerprinting;
  std::string cache_directory;
};

data::SourceOptions source_options(const configs::RunConfig& config,
                                   const std::vector<std::string>& names,
                                   const DataAccess& access) {
  data::SourceOptions options;
  options.paths = data::dataset_paths(names);
  options.inputs = config.data.inputs;
  options.targets = config.data.targets;
  options.tokens = config.data.tokens;
  options.context = config.model.context;
  options.classes = config.model.classes;
  options.scale = config.data.scale;
  options.mean = config.data.mean;
  options.std = config.data.std;
  options.one_hot = config.data.one_hot ? data::OneHot::kOn : data::OneHot::kOff;
  options.fingerprinting = access.fingerprinting;
  options.cache_directory = access.cache_directory;
  return options;
}

data::SourceOptions training_options(const configs::RunConfig& config, const DataAccess& access) {
  auto options = source_options(config, config.data.train, access);
  options.weights = config.data.weights;
  options.augmentation = augmentation_of(config.data.augment);
  options.token_windows = data::token_windows_of(config.data.token_windows);
  options.seed = static_cast<std::uint64_t>(config.train.seed);
  return options;
}

/// The test set must speak of the same task, with the training set's classes.
std::unique_ptr<data::SampleSource> open_test(const configs::RunConfig& config,
                                              const data::SampleSource& training,
                                              const DataAccess& access) {
  if (config.data.test.empty()) return nullptr;
  const auto& train = training.info();
  auto options = source_options(config, config.data.test, access);
  options.kind = train.kind;
  options.classes = train.classes;
  auto source = std::make_unique<data::SampleSource>(options);
  if (source->info().input_shape != train.input_shape) {
    throw base::DataError("data file " + base::quote(source->name()) +
                          " holds samples of another shape than " + base::quote(training.name()) +
                          " (one model takes both); make them alike");
  }
  return source;
}

std::shared_ptr<Model> seeded_model(const configs::RunConfig& config,
                                    const data::SourceInfo& info) {
  // Modules initialise themselves from the default generator, one model at a time.
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  torch::manual_seed(base::keyed_random(static_cast<std::uint64_t>(config.train.seed),
                                        base::RandomPurpose::kInitialization, 0, 0));
  return models::make_model(config.model, shapes_of(info));
}

OptimizerOptions optimizer_options(const configs::OptimizerConfig& config) {
  return {.kind = optimizer_kind(config.name),
          .momentum = config.momentum,
          .nesterov = config.nesterov,
          .weight_decay = config.weight_decay,
          .beta1 = config.betas.at(0),
          .beta2 = config.betas.at(1),
          .eps = config.eps};
}

Schedule schedule_of(const configs::TrainConfig& config, std::int64_t total_steps) {
  return {.kind = schedule_kind(config.schedule.name),
          .base_lr = config.optimizer.lr,
          .min_lr_ratio = config.schedule.min_lr_ratio,
          .warmup_steps = config.schedule.warmup_steps,
          .total_steps = total_steps,
          .step_size = std::max<std::int64_t>(config.schedule.step_size, 1),
          .gamma = config.schedule.gamma};
}

/// Micro-batches of a step, and samples of one. Without train.micro_batch each rank has one.
std::pair<std::int64_t, std::int64_t> micro_batches_of(const configs::TrainConfig& config,
                                                       int world_size) {
  if (config.micro_batch > 0) {
    return {config.global_batch / config.micro_batch, config.micro_batch};
  }
  if (config.global_batch % world_size != 0) {
    throw base::ConfigError("train.global_batch " + std::to_string(config.global_batch) +
                            " cannot be shared evenly by " + std::to_string(world_size) +
                            " ranks (without train.micro_batch each rank takes an equal part); "
                            "use a divisor as the number of ranks, or set train.micro_batch");
  }
  return {world_size, config.global_batch / world_size};
}

void require_same_data(comm::Communicator& world, const std::vector<std::string>& names) {
  const auto paths = data::dataset_paths(names);
  // A pattern may match other files on another host.
  comm::require_agreement(world, "list of data files", base::joined(paths, "\n"),
                          base::ExitCode::kData);
  for (const auto& path : paths) {
    comm::require_agreement(world, "data file " + base::quote(path), data::quick_identity(path),
                            base::ExitCode::kData);
  }
}

/// How many of `wanted` bytes the node's shared memory has room for, leaving half of it to others.
std::size_t shareable_bytes(comm::Communicator& node, std::size_t wanted) {
  std::uint64_t room = 0;
  if (node.rank() == 0) room = base::FileSystem::posix().free_bytes("/dev/shm") / 2;
  const auto told = node.all_gather_texts(std::to_string(room), "room for decoded samples")[0];
  return std::min<std::size_t>(wanted, std::stoull(told));
}

/// Gives both sources memory for decoded samples that the ranks of a node share.
std::unique_ptr<comm::NodeMemory> share_decoded(OpenedData& data, std::size_t budget,
                                                std::int64_t window_samples,
                                                comm::Communicator& node) {
  budget = shareable_bytes(node, budget);
  const auto train_bytes = data.train->plan_cache(budget, window_samples);
  const auto test_bytes = data.test == nullptr ? 0 : data.test->plan_cache(budget - train_bytes, 0);
  if (train_bytes + test_bytes == 0) return nullptr;
  auto memory =
      std::make_unique<comm::NodeMemory>(node, train_bytes + test_bytes, "decoded samples");
  data.train->share_cache(memory->bytes().first(train_bytes));
  if (data.test != nullptr)
    data.test->share_cache(memory->bytes().subspan(train_bytes, test_bytes));
  return memory;
}

data::OrderOptions order_of(const configs::DataConfig& config, const data::SourceInfo& info,
                            std::int64_t context) {
  constexpr std::int64_t kUnchunkedBlock = 1024;
  data::OrderOptions order;
  order.shuffle = config.shuffle ? data::Shuffle::kOn : data::Shuffle::kOff;
  order.kind = config.order == "block" ? data::OrderKind::kBlock : data::OrderKind::kExact;
  order.block_samples = config.block_samples;
  order.window_blocks = config.window_blocks;
  if (order.block_samples == 0) {
    const auto rows = info.chunk_rows > 0 ? info.chunk_rows : kUnchunkedBlock;
    const auto rows_of_sample = info.kind == data::TaskKind::kTokens ? context : 1;
    order.block_samples = std::max<std::int64_t>(1, rows / rows_of_sample);
  }
  return order;
}

Precision precision_in(const configs::ComputeConfig& config, const DeviceContext* device) {
  const auto precision = precision_of(config.precision);
  if (precision == Precision::kFloat32 || device != nullptr) return precision;
  throw base::ConfigError("compute.precision " + config.precision +
                          " is for GPUs (ranks compute on CPUs here); set it to f32");
}

OpenedData open_data(const configs::RunConfig& config, const std::string& config_hash,
                     data::SourceOptions training, const DataAccess& access, RankGroup group) {
  at::set_num_threads(static_cast<int>(config.compute.threads));
  comm::require_agreement(group.world, "configuration", config_hash);
  require_same_data(group.world, config.data.train);
  require_same_data(group.world, config.data.test);

  OpenedData opened;
  opened.train = std::make_unique<data::SampleSource>(std::move(training));
  const auto& info = opened.train->info();
  opened.test = open_test(config, *opened.train, access);
  opened.objective_kind = objective_of(info, config.train.loss);
  opened.objective =
      std::make_unique<Objective>(opened.objective_kind, config.train.label_smoothing);
  return opened;
}

std::shared_ptr<Model> agreed_model(const configs::RunConfig& config, const data::SourceInfo& info,
                                    RankGroup group) {
  auto model = seeded_model(config, info);
  comm::require_agreement(group.world, "model layout",
                          base::sha256_hex(layout_of(*model).describe()));
  return model;
}

}  // namespace

Assembly assemble(const configs::RunConfig& config, const std::string& config_hash,
                  const std::string& cache_directory, const TrialLimits& limits, RankGroup group,
                  const Place& place) {
  const DataAccess access{
      group.world.rank() == 0 ? data::Fingerprinting::kWholeFile : data::Fingerprinting::kNone,
      cache_directory};
  Assembly made;
  static_cast<OpenedData&>(made) =
      open_data(config, config_hash, training_options(config, access), access, group);
  const auto& info = made.train->info();
  auto samples = info.samples;
  if (limits.overfit_batches > 0) {
    samples = std::min(samples, limits.overfit_batches * config.train.global_batch);
  }
  made.steps_per_epoch = data::steps_per_epoch(samples, config.train.global_batch);
  made.total_steps =
      config.train.steps > 0 ? config.train.steps : config.train.epochs * made.steps_per_epoch;
  const auto scheduled_steps = made.total_steps;
  if (limits.fast_dev_steps > 0) {
    made.total_steps = std::min(made.total_steps, limits.fast_dev_steps);
  }

  auto model = agreed_model(config, info, group);
  const auto [micro_batches, micro_batch] = micro_batches_of(config.train, group.world.size());
  TrainStepOptions step;
  step.micro_batches = micro_batches;
  step.micro_batch = micro_batch;
  step.dense_kernels = config.compute.dense_kernels && config.compute.threads == 1;
  step.autograd_alone = place.autograd_alone;
  step.reduction = config.train.reduction == "fast" ? Reduction::kFast : Reduction::kInvariant;
  step.seed = static_cast<std::uint64_t>(config.train.seed);
  step.clip_norm = config.train.clip_norm;
  step.optimizer = optimizer_options(config.train.optimizer);
  step.schedule = schedule_of(config.train, scheduled_steps);
  const bool skips = config.train.divergence.policy == "skip";
  step.device = place.device;
  step.precision = precision_in(config.compute, place.device);
  step.loss_scale = {.initial = config.compute.loss_scale,
                     .growth_steps = config.compute.loss_scale_steps};
  step.captures_graphs = config.compute.cuda_graphs;
  step.recompute = config.compute.activation_checkpointing;
  step.keep_last_step = skips;
  step.kept_memory = place.kept_memory;
  step.hold_for_saves = config.checkpoint.background;
  step.compare_nodes_every_steps = config.log.compare_nodes_every_steps;
  if (place.goes_on_from) {
    step.goes_on_from = [&place, steps_per_epoch = made.steps_per_epoch](std::int64_t done) {
      return place.goes_on_from(done, steps_per_epoch);
    };
  }
  step.kept_identity = config_hash;  // the run's record sees to the data
  made.step =
      std::make_unique<TrainStep>(group, std::move(model), *made.objective, std::move(step));

  const auto range = made.step->micro_batch_range();
  made.loader = {.samples = samples,
                 .global_batch = config.train.global_batch,
                 .micro_batch = micro_batch,
                 .seed = static_cast<std::uint64_t>(config.train.seed),
                 .order = order_of(config.data, info, config.model.context),
                 .micro_begin = range.begin,
                 .micro_end = range.end,
                 .first_step = 0,
                 .last_step = made.total_steps};
  if (limits.overfit_batches > 0) made.loader.order.shuffle = data::Shuffle::kOff;
  made.cache = share_decoded(made, static_cast<std::size_t>(config.data.cache_bytes),
                             made.loader.order.window_samples(), group.node);
  return made;
}

InferenceAssembly assemble_for_inference(const configs::RunConfig& config,
                                         const std::string& config_hash,
                                         const std::string& cache_directory, RankGroup group,
                                         DeviceContext* device) {
  const DataAccess access{data::Fingerprinting::kNone, cache_directory};
  InferenceAssembly made;
  static_cast<OpenedData&>(made) = open_data(
      config, config_hash, source_options(config, config.data.train, access), access, group);
  made.cache =
      share_decoded(made, static_cast<std::size_t>(config.data.cache_bytes), 0, group.node);
  made.model =
      std::make_unique<TrainedModel>(group, agreed_model(config, made.train->info(), group), device,
                                     precision_in(config.compute, device));
  return made;
}

ModelDescription describe_model(const configs::RunConfig& config) {
  const data::SampleSource source(training_options(config, {data::Fingerprinting::kNone, {}}));
  const auto layout = layout_of(*seeded_model(config, source.info()));
  const auto states =
      static_cast<std::int64_t>(state_names(optimizer_options(config.train.optimizer)).size());
  const auto floats = layout.flat_count() + layout.constant_count + states * layout.parameter_count;
  return {.parameters = layout.parameter_count + layout.constant_count,
          .buffers = layout.buffer_count + layout.counter_count,
          .state_bytes = floats * static_cast<std::int64_t>(sizeof(float)) +
                         layout.counter_count * static_cast<std::int64_t>(sizeof(std::int64_t)),
          .tensors = static_cast<std::int64_t>(layout.parameters.size() + layout.buffers.size() +
                                               layout.constants.size() + layout.counters.size())};
}

}  // namespace lockstep::trainer
