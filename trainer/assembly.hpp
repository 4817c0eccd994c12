#pragma once
// Everything that a configuration and its data files make: the data sources, the model bound to
// shared memory, and the training step where one trains. Used by training, evaluation, prediction
// and `describe`. One rank, one thread.

#include <functional>
#include <memory>
#include <string>

#include "comm/node_memory.hpp"
#include "configs/run_config.hpp"
#include "data/loader_plan.hpp"
#include "data/source.hpp"
#include "trainer/objective.hpp"
#include "trainer/train_step.hpp"
#include "trainer/trained_model.hpp"

namespace lockstep::trainer {

/// Debug modes of `train`; neither keeps checkpoints.
struct TrialLimits {
  std::int64_t fast_dev_steps = 0;   ///< stop after so many steps and evaluation batches; 0 = off
  std::int64_t overfit_batches = 0;  ///< train on the first so many global batches only; 0 = off
  bool any() const { return fast_dev_steps > 0 || overfit_batches > 0; }
};

/// Where a rank computes, and what outlives it there; see TrainStepOptions.
struct Place {
  bool autograd_alone = false;  ///< see TrainStepOptions
  std::string kept_memory{};    ///< without a device
  /// Whether a training run goes on from what that holds; null: always. Collective.
  std::function<bool(std::int64_t step, std::int64_t steps_per_epoch)> goes_on_from{};
  DeviceContext* device = nullptr;  ///< null: the CPU
};

struct OpenedData {
  std::unique_ptr<comm::NodeMemory> cache;  ///< decoded samples of both sources; may be null
  std::unique_ptr<data::SampleSource> train;
  std::unique_ptr<data::SampleSource> test;  ///< null when there is none
  ObjectiveKind objective_kind = ObjectiveKind::kClassification;
  std::unique_ptr<Objective> objective;
};

struct Assembly : OpenedData {
  std::unique_ptr<TrainStep> step;
  data::LoaderPlan loader;  ///< of this rank, over all steps of the run
  std::int64_t steps_per_epoch = 1;
  std::int64_t total_steps = 1;
};

/// Opens the data, checks that all ranks agree on configuration, data and model, and allocates the
/// state. What is learned of the data files is kept in `cache_directory`; empty = nowhere. Throws
/// ConfigError, DataError or EnvironmentError, with the same class on all ranks. Collective.
Assembly assemble(const configs::RunConfig& config, const std::string& config_hash,
                  const std::string& cache_directory, const TrialLimits& limits, RankGroup group,
                  const Place& place = {});

/// What evaluation and prediction need, at any number of ranks.
struct InferenceAssembly : OpenedData {
  std::unique_ptr<TrainedModel> model;  ///< its values come from a checkpoint
};

/// As `assemble`, with a model and nothing to train it. Collective.
InferenceAssembly assemble_for_inference(const configs::RunConfig& config,
                                         const std::string& config_hash,
                                         const std::string& cache_directory, RankGroup group,
                                         DeviceContext* device = nullptr);

/// Sizes of the model that a configuration makes, without allocating its state. Local.
struct ModelDescription {
  std::int64_t parameters = 0;
  std::int64_t buffers = 0;
  std::int64_t state_bytes = 0;  ///< parameters, buffers and optimizer state
  std::int64_t tensors = 0;
};
ModelDescription describe_model(const configs::RunConfig& config);

}  // namespace lockstep::trainer
