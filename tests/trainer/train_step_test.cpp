// The promise, on threads: whatever the number of ranks and nodes, the same bits.

#include "trainer/train_step.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <mutex>

#include "base/hash.hpp"
#include "comm/thread_communicator.hpp"
#include "tests/trainer/drawn_batch.hpp"
#include "trainer/models/models.hpp"

namespace lockstep::trainer {
namespace {

constexpr std::int64_t kMicroBatchSamples = 4;

struct Setting {
  configs::ModelConfig model;
  ModelShapes shapes;
  ObjectiveKind objective = ObjectiveKind::kClassification;
  TrainStepOptions step;
  std::int64_t steps = 4;
  std::int64_t joined = 1;  ///< drawn micro-batches that make one
};

MicroBatch drawn(const Setting& setting, std::int64_t step, std::int64_t index) {
  return tests::drawn_batch(setting.shapes, setting.objective, kMicroBatchSamples, index,
                            step * setting.step.micro_batches * setting.joined + index + 1);
}

MicroBatch micro_batch(const Setting& setting, std::int64_t step, std::int64_t index) {
  std::vector<torch::Tensor> inputs, targets;
  for (std::int64_t i = 0; i < setting.joined; ++i) {
    const auto part = drawn(setting, step, index * setting.joined + i);
    inputs.push_back(part.inputs);
    targets.push_back(part.targets);
  }
  return {index, torch::cat(inputs), torch::cat(targets)};
}

struct Outcome {
  std::string digest;  ///< of parameters and buffers
  std::string state_digest;
  double loss = 0;
  double norm = 0;
  std::vector<std::int64_t> counters;
};

Outcome train(const Setting& setting, int ranks, int ranks_per_node = 0) {
  Outcome outcome;
  std::mutex construction;
  std::vector<std::vector<float>> states;  // of each state buffer, all slices
  comm::run_on_threads(ranks, [&](comm::Communicator& world) {
    const auto topology = comm::discover_topology(world, comm::this_host(), ranks_per_node);
    const auto node = world.split(topology.node, topology.local_rank, "node");
    std::shared_ptr<Model> model;
    {
      const std::lock_guard lock(construction);
      torch::manual_seed(setting.step.seed);
      model = models::make_model(setting.model, setting.shapes);
    }
    // Threads share torch's default generator: a step must not seed it while a model of another
    // (pretend) node still draws its values.
    world.barrier("models");
    TrainStep train_step({world, *node, topology}, model, Objective(setting.objective, 0.1),
                         setting.step);
    StepResult result;
    for (std::int64_t step = 0; step < setting.steps; ++step) {
      auto index = train_step.micro_batch_range().begin;
      result = train_step(step, [&] { return micro_batch(setting, step, index++); }, {});
    }
    const std::lock_guard lock(construction);
    const auto& layout = train_step.parameters().layout();
    const auto names = state_names(setting.step.optimizer);
    states.resize(names.size());
    const auto own = train_step.own_blocks();
    for (std::size_t i = 0; i < names.size(); ++i) {
      states[i].resize(static_cast<std::size_t>(layout.parameter_count));
      for (auto block = own.begin; block < own.end; ++block) {
        const auto range = train_step.blocks()[static_cast<std::size_t>(block)];
        if (range.begin >= layout.parameter_count) continue;
        std::memcpy(states[i].data() + range.begin, train_step.state_at(i, range.begin),
                    static_cast<std::size_t>(range.count()) * sizeof(float));
      }
    }
    const auto* flat = train_step.parameters().memory().flat;
    const auto digest = base::sha256_hex(
        std::as_bytes(std::span(flat, static_cast<std::size_t>(layout.flat_count()))));
    if (outcome.digest.empty()) {
      outcome = {.digest = digest,
                 .state_digest = {},
                 .loss = result.loss,
                 .norm = result.gradient_norm,
                 .counters = train_step.parameters().counters()};
    }
    EXPECT_EQ(outcome.digest, digest) << "ranks differ";
    EXPECT_EQ(outcome.loss, result.loss);
    EXPECT_EQ(outcome.norm, result.gradient_norm);
    EXPECT_EQ(outcome.counters, train_step.parameters().counters());
  });
  for (const auto& state : states) {
    outcome.state_digest += base::sha256_hex(std::as_bytes(std::span(state)));
  }
  return outcome;
}

void expect_same_bits(const Setting& setting, std::vector<int> rank_counts) {
  const auto alone = train(setting, 1);
  EXPECT_TRUE(std::isfinite(alone.loss));
  EXPECT_GT(alone.norm, 0);
  for (const int ranks : rank_counts) {
    for (const int ranks_per_node : {0, 2}) {
      const auto together = train(setting, ranks, ranks_per_node);
      const auto label =
          std::to_string(ranks) + " ranks, " + std::to_string(ranks_per_node) + " a node";
      EXPECT_EQ(together.digest, alone.digest) << label;
      EXPECT_EQ(together.state_digest, alone.state_digest) << label;
      EXPECT_EQ(together.loss, alone.loss) << label;
      EXPECT_EQ(together.norm, alone.norm) << label;
      EXPECT_EQ(together.counters, alone.counters) << label;
    }
  }
}

Setting mlp_setting(std::int64_t micro_batches) {
  Setting setting;
  setting.model.name = "mlp";
  setting.model.hidden = {40, 30};
  setting.shapes = {.input_shape = {20}, .outputs = 7, .tokens = false};
  setting.step.micro_batches = micro_batches;
  setting.step.micro_batch = kMicroBatchSamples;
  setting.step.schedule = {.kind = ScheduleKind::kCosine, .base_lr = 0.01, .total_steps = 4};
  return setting;
}

TEST(TrainStep, GivesTheSameBitsForAnMlpOnAnyRanksAndNodes) {
  expect_same_bits(mlp_setting(8), {2, 3, 4, 5, 8});
}

TEST(TrainStep, GivesTheSameBitsWhenMicroBatchesAreNoPowerOfTwo) {
  expect_same_bits(mlp_setting(7), {2, 3, 5, 7});
  expect_same_bits(mlp_setting(6), {4});
}

TEST(TrainStep, GivesTheSameBitsWithClippingAndMomentum) {
  auto setting = mlp_setting(8);
  setting.step.clip_norm = 0.05;
  setting.step.optimizer = {.kind = OptimizerKind::kSgd, .momentum = 0.9, .weight_decay = 0.01};
  expect_same_bits(setting, {2, 3, 5});
}

/// An mlp that is trained without autograd; widths that no tile divides.
Setting dense_setting(std::int64_t micro_batches) {
  auto setting = mlp_setting(micro_batches);
  setting.step.dense_kernels = true;
  setting.model.hidden = {43, 130};
  setting.shapes.input_shape = {3, 7};
  return setting;
}

TEST(TrainStep, GivesTheSameBitsForDenseChainsWithEachActivation) {
  for (const auto* activation : {"relu", "gelu", "tanh"}) {
    auto setting = dense_setting(6);
    setting.model.activation = activation;
    SCOPED_TRACE(activation);
    expect_same_bits(setting, {2, 3, 4, 5});
  }
}

TEST(TrainStep, GivesTheSameBitsForDenseChainsWithClippingAndRegression) {
  auto setting = dense_setting(8);
  setting.step.clip_norm = 0.05;
  setting.step.optimizer = {.kind = OptimizerKind::kSgd, .momentum = 0.9, .weight_decay = 0.01};
  setting.objective = ObjectiveKind::kRegression;
  expect_same_bits(setting, {2, 3, 8});
}

TEST(TrainStep, ADenseChainLearnsTheSameHoweverItsBatchIsCut) {
  // The samples of a step are those of its micro-batches in order, so one cut can be another's.
  auto fine = dense_setting(8), coarse = dense_setting(2);
  coarse.step.micro_batch = 4 * kMicroBatchSamples;
  coarse.joined = 4;
  EXPECT_EQ(train(fine, 3).digest, train(coarse, 2).digest);
}

TEST(TrainStep, TrainsADenseChainAsAutogradDoes) {
  for (const auto objective : {ObjectiveKind::kClassification, ObjectiveKind::kRegression}) {
    for (const auto* activation : {"relu", "gelu", "tanh"}) {
      auto setting = dense_setting(4);
      setting.objective = objective;
      setting.model.activation = activation;
      setting.steps = 20;
      const auto dense = train(setting, 2);
      setting.step.dense_kernels = false;
      const auto autograd = train(setting, 2);
      SCOPED_TRACE(activation);

      EXPECT_NE(dense.digest, autograd.digest) << "the kernels were not used";
      EXPECT_NEAR(dense.loss, autograd.loss, 1e-4);
      EXPECT_NEAR(dense.norm, autograd.norm, 1e-3 * autograd.norm);
    }
  }
}

TEST(TrainStep, ADenseChainOfManyParametersCrossesPanelsAndRowsAlike) {
  auto setting = dense_setting(3);
  setting.model.hidden = {700, 331};  // 15k, 232k and 2k elements
  setting.steps = 2;
  expect_same_bits(setting, {2, 3});
  const auto dense = train(setting, 2);
  setting.step.dense_kernels = false;
  EXPECT_NEAR(dense.norm, train(setting, 2).norm, 1e-4);
}

TEST(TrainStep, GivesTheSameBitsWhereANodesRanksComputeALayerTogether) {
  auto setting = dense_setting(6);
  setting.model.hidden = {1030, 1040, 9};  // more than a million weights between the first two
  setting.steps = 2;
  expect_same_bits(setting, {2, 3, 5});
}

TEST(TrainStep, GivesTheSameBitsWithBatchNorm) {
  Setting setting;
  setting.model.name = "resnet18";
  setting.model.channels = {8, 16};
  setting.shapes = {.input_shape = {3, 8, 8}, .outputs = 5, .tokens = false};
  setting.step.micro_batches = 5;
  setting.steps = 2;
  expect_same_bits(setting, {2, 3});
  EXPECT_EQ(train(setting, 2).counters.front(), 2) << "num_batches_tracked counts steps";
  setting.model.name = "resnet50";
  setting.shapes.input_shape = {3, 32, 32};
  expect_same_bits(setting, {2, 3});
}

TEST(TrainStep, GivesTheSameBitsForAGptWithDropoutAndTiedWeights) {
  Setting setting;
  tests::make_small_gpt(setting);
  setting.step.micro_batches = 6;
  expect_same_bits(setting, {2, 4});
  const auto library = train(setting, 2);
  setting.step.dense_kernels = true;
  expect_same_bits(setting, {2, 4});
  EXPECT_NEAR(train(setting, 2).norm, library.norm, 1e-3 * library.norm);
}

TEST(TrainStep, ClippingLimitsTheUpdate) {
  auto free = mlp_setting(2), clipped = mlp_setting(2);
  free.steps = clipped.steps = 1;
  free.step.optimizer = clipped.step.optimizer = {.kind = OptimizerKind::kSgd};
  clipped.step.clip_norm = 1e-6;

  const auto a = train(free, 1), b = train(clipped, 1);

  EXPECT_EQ(a.norm, b.norm) << "the norm is that before clipping";
  EXPECT_NE(a.digest, b.digest);
}

TEST(TrainStep, FastReductionGivesEachRankCountItsOwnBitsButTheSameLoss) {
  auto setting = mlp_setting(8);
  setting.step.reduction = Reduction::kFast;

  const auto one = train(setting, 1), two = train(setting, 2);

  EXPECT_NEAR(one.loss, two.loss, 1e-4);
  EXPECT_EQ(train(setting, 2).digest, two.digest);
}

TEST(TrainStep, AnotherSeedGivesOtherBits) {
  auto setting = mlp_setting(4);
  const auto first = train(setting, 1);
  setting.step.seed = 2;

  EXPECT_NE(train(setting, 1).digest, first.digest);
}

TEST(TrainStep, TellsEveryRankOfStopRequestsAndJobsOfAny) {
  const auto setting = mlp_setting(4);
  comm::run_on_threads(3, [&](comm::Communicator& world) {
    const auto topology = comm::discover_topology(world, comm::this_host(), 2);
    const auto node = world.split(topology.node, topology.local_rank, "node");
    static std::mutex construction;
    std::shared_ptr<Model> model;
    {
      const std::lock_guard lock(construction);
      model = models::make_model(setting.model, setting.shapes);
    }
    TrainStep train_step({world, *node, topology}, model, Objective(setting.objective, 0),
                         setting.step);
    auto index = train_step.micro_batch_range().begin;

    RankSignals signals;
    if (world.rank() == 0) signals = {.save_asked = 1, .job = JobState::kDone};
    if (world.rank() == 1) signals = {.stop_requests = 1, .job = JobState::kRunning};
    if (world.rank() == 2) signals = {.stop_requests = 2, .job = JobState::kFailed};

    const auto result = train_step(
        0, [&] { return micro_batch(setting, 0, index++); }, signals);

    EXPECT_EQ(result.signals.stop_requests, 2);
    EXPECT_EQ(result.signals.save_asked, 1);
    EXPECT_EQ(result.signals.job, JobState::kRunning);
  });
}

}  // namespace
}  // namespace lockstep::trainer
