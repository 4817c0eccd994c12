// Training steps on a GPU through the module that a worker loads: they have the bits of another
// such run, come close to the CPU's, and their state goes to the CPU and back.

#include <gtest/gtest.h>

#include "comm/serial_communicator.hpp"
#include "tests/support/fault_file_system.hpp"
#include "tests/trainer/drawn_batch.hpp"
#include "trainer/checkpoint_saver.hpp"
#include "trainer/gpu_module.hpp"
#include "trainer/models/models.hpp"
#include "trainer/state_keeper.hpp"

namespace lockstep::trainer {
namespace {

struct Setting {
  configs::ModelConfig model;
  ModelShapes shapes;
  ObjectiveKind objective = ObjectiveKind::kClassification;
  TrainStepOptions step;
};

Setting setting_of(const std::string& model) {
  Setting setting;
  setting.model.name = model;
  setting.model.hidden = {64, 32};
  setting.model.channels = {8, 16};
  setting.model.layers = 2;
  setting.model.width = 32;
  setting.model.heads = 2;
  setting.model.context = 16;
  setting.model.dropout = 0.1;
  setting.shapes = {.input_shape = {3, 32, 32}, .outputs = 10, .tokens = false};
  if (model == "gpt") {
    setting.shapes = {.input_shape = {16}, .outputs = 50, .tokens = true};
    setting.objective = ObjectiveKind::kTokens;
  }
  setting.step.micro_batches = 6;
  setting.step.clip_norm = 1;
  setting.step.schedule.base_lr = 1e-3;
  return setting;
}

MicroBatch micro_batch(const Setting& setting, std::int64_t step, std::int64_t index) {
  return tests::drawn_batch(setting.shapes, setting.objective, 8, index, step * 100 + index);
}

class TrainingOnAGpu : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (has_gpu_driver()) device_ = load_gpu_module().use(0, true).release();
  }
  void SetUp() override {
    if (device_ == nullptr) GTEST_SKIP() << "no GPU";
    files_.put("/runs/a/ledger.jsonl", "");
    topology_ = comm::discover_topology(world_, comm::this_host(), 0);
    node_ = world_.split(0, 0, "node");
  }

  std::unique_ptr<TrainStep> make(const Setting& setting, DeviceContext* device) {
    torch::manual_seed(1);
    auto options = setting.step;
    options.device = device;
    return std::make_unique<TrainStep>(RankGroup{world_, *node_, topology_},
                                       models::make_model(setting.model, setting.shapes),
                                       Objective(setting.objective, 0.1), options);
  }
  StepResult train(TrainStep& step, const Setting& setting, std::int64_t number) {
    std::int64_t index = 0;
    return step(number, [&] { return micro_batch(setting, number, index++); }, {});
  }
  std::string digest(TrainStep& step, std::int64_t steps) {
    return StateKeeper({world_, *node_, topology_}, step, files_, "/runs/a/checkpoints")
        .digest(steps);
  }

  static DeviceContext* device_;
  comm::SerialCommunicator world_;
  comm::Topology topology_;
  std::unique_ptr<comm::Communicator> node_;
  tests::FaultFileSystem files_;
};
DeviceContext* TrainingOnAGpu::device_ = nullptr;

TEST_F(TrainingOnAGpu, HasTheBitsOfAnotherRunAndComesCloseToTheCpu) {
  for (const auto* model : {"mlp", "cnn", "resnet18", "resnet50", "gpt"}) {
    SCOPED_TRACE(model);
    const auto setting = setting_of(model);
    const auto host = make(setting, nullptr), one = make(setting, device_);
    const auto other = make(setting, device_);
    for (std::int64_t step = 0; step < 5; ++step) {
      const auto right = train(*host, setting, step);
      const auto result = train(*one, setting, step), again = train(*other, setting, step);
      EXPECT_EQ(result.loss, again.loss);
      EXPECT_EQ(result.gradient_norm, again.gradient_norm);
      EXPECT_NEAR(result.loss, right.loss, 2e-2 * right.loss);
    }
    EXPECT_EQ(digest(*one, 5), digest(*other, 5));
  }
}

TEST_F(TrainingOnAGpu, HasTheSameBitsAsGraphsAndKernelByKernel) {
  for (const auto* model : {"mlp", "cnn", "resnet18", "gpt"}) {
    SCOPED_TRACE(model);
    auto setting = setting_of(model);
    setting.step.precision = Precision::kBFloat16;
    const auto graphs = make(setting, device_);
    setting.step.captures_graphs = false;
    const auto eager = make(setting, device_);
    std::string warning;
    device_->warn = [&](const std::string& words) { warning = words; };
    for (std::int64_t step = 0; step < 6; ++step) {
      const auto right = train(*eager, setting, step), result = train(*graphs, setting, step);
      EXPECT_EQ(result.loss, right.loss) << step;
      EXPECT_EQ(result.gradient_norm, right.gradient_norm) << step;
    }
    EXPECT_EQ(digest(*graphs, 6), digest(*eager, 6));
    EXPECT_EQ(warning, "") << "it could not be captured";
  }
  device_->warn = [](const std::string&) {};
}

TEST_F(TrainingOnAGpu, ComputesActivationsAgainWithTheSameBits) {
  auto setting = setting_of("gpt");
  setting.step.precision = Precision::kBFloat16;
  const auto whole = make(setting, device_);
  setting.step.recompute = true;
  const auto again = make(setting, device_);
  for (std::int64_t step = 0; step < 4; ++step) {
    EXPECT_EQ(train(*again, setting, step).loss, train(*whole, setting, step).loss);
  }
  EXPECT_EQ(digest(*again, 4), digest(*whole, 4));
}

TEST_F(TrainingOnAGpu, FindsALossScaleInHalfFloats) {
  auto setting = setting_of("resnet18");
  setting.step.precision = Precision::kFloat16;
  setting.step.loss_scale.initial = 1e12;
  const auto step = make(setting, device_);
  std::int64_t number = 0;
  while (train(*step, setting, number++).overflowed) ASSERT_LT(number, 40);
  EXPECT_EQ(step->loss_scale().overflows, number - 1);
  EXPECT_GT(step->loss_scale().factor, 1);
}

TEST_F(TrainingOnAGpu, TakesAStepBackAndBeginsAhead) {
  auto setting = setting_of("resnet18");
  setting.step.precision = Precision::kBFloat16;
  setting.step.keep_last_step = true;
  const auto plain = make(setting, device_), other = make(setting, device_);
  train(*plain, setting, 0);
  train(*plain, setting, 2);

  train(*other, setting, 0);
  std::int64_t number = 1, index = 0;
  const auto next = [&] {
    const auto batch = micro_batch(setting, number, index);
    if (++index == setting.step.micro_batches) {
      index = 0;
      ++number;
    }
    return batch;
  };
  (*other)(1, next, {}, true);
  other->take_back(2, 2, "");
  (*other)(2, next, {});
  EXPECT_EQ(digest(*other, 3), digest(*plain, 3));
}

TEST_F(TrainingOnAGpu, GoesOnFromACheckpointOfTheCpuAndBack) {
  const auto setting = setting_of("resnet18");
  const RankGroup group{world_, *node_, topology_};
  const auto host = make(setting, nullptr);
  train(*host, setting, 0);
  CheckpointSaver saver(
      {.files = files_, .directory = "/runs/a/checkpoints", .clock = base::Clock::system()}, group,
      *host);
  saver.save_and_wait({.info = {.step = 1}, .retention = {.keep = 2}});

  const auto moved = make(setting, device_);
  StateKeeper keeper(group, *moved, files_, "/runs/a/checkpoints");
  checkpoints::CheckpointStore store(files_, "/runs/a/checkpoints");
  keeper.load(*store.newest_good());
  EXPECT_EQ(keeper.digest(1), digest(*host, 1));

  train(*moved, setting, 1);
  CheckpointSaver back(
      {.files = files_, .directory = "/runs/a/checkpoints", .clock = base::Clock::system()}, group,
      *moved);
  back.begin({.info = {.step = 2}, .retention = {.keep = 2}});
  const auto saved = keeper.digest(2);
  for (std::int64_t step = 2; back.busy() && step < 500; ++step) {
    train(*moved, setting, step);
    back.advance(back.job());
  }
  EXPECT_EQ(store.open(*store.newest_good()).state_digest, saved);
}

}  // namespace
}  // namespace lockstep::trainer
