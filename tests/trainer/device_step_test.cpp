// Training on (fake) devices: the same bits on any number of ranks, those of the CPU where the
// arithmetic is the CPU's, and checkpoints that either reads.

#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "comm/thread_communicator.hpp"
#include "tests/support/fault_file_system.hpp"
#include "tests/support/locked_file_system.hpp"
#include "tests/trainer/drawn_batch.hpp"
#include "tests/trainer/fake_device.hpp"
#include "trainer/checkpoint_saver.hpp"
#include "trainer/models/models.hpp"
#include "trainer/state_keeper.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::trainer {
namespace {

enum class Place { kHost, kDevice };

struct Setting {
  configs::ModelConfig model;
  ModelShapes shapes;
  ObjectiveKind objective = ObjectiveKind::kClassification;
  TrainStepOptions step;
};

/// A convolutional net with BatchNorm: parameters, buffers and counters.
Setting images() {
  Setting setting;
  setting.model.name = "resnet18";
  setting.model.channels = {8, 16};
  setting.shapes = {.input_shape = {3, 8, 8}, .outputs = 5, .tokens = false};
  setting.step.micro_batches = 6;
  setting.step.schedule = {.kind = ScheduleKind::kCosine, .base_lr = 0.01, .total_steps = 9};
  return setting;
}

/// With dropout and tied weights.
Setting tokens() {
  Setting setting;
  tests::make_small_gpt(setting);
  setting.step.micro_batches = 7;
  return setting;
}

MicroBatch micro_batch(const Setting& setting, std::int64_t step, std::int64_t index) {
  return tests::drawn_batch(setting.shapes, setting.objective, 3, index,
                            step * setting.step.micro_batches + index + 1);
}

struct Rank {
  RankGroup group;
  TrainStep& step;
  StateKeeper& keeper;
  const Setting& setting;

  StepResult train(std::int64_t step_number, const RankSignals& signals = {}) {
    auto index = step.micro_batch_range().begin;
    return step(
        step_number, [&] { return micro_batch(setting, step_number, index++); }, signals);
  }
};

struct Outcome {
  std::string digest;
  double loss = 0, norm = 0;
  bool operator==(const Outcome&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  return out << outcome.digest << ", loss " << outcome.loss << ", norm " << outcome.norm;
}

class DeviceStep : public testing::Test {
 protected:
  DeviceStep() { faulty_.put("/runs/a/ledger.jsonl", ""); }

  std::vector<std::string> warnings_;
  bool graphs_ = false, refuse_graphs_ = false;
  int captured_ = 0, launched_ = 0;  // of rank 0

  void on_ranks(const Setting& setting, Place place, int ranks,
                const std::function<void(Rank)>& body, int ranks_per_node = 0) {
    static std::mutex construction;
    const auto nccl = std::make_shared<tests::FakeNccl>();
    comm::run_on_threads(ranks, [&](comm::Communicator& world) {
      const auto topology = comm::discover_topology(world, comm::this_host(), ranks_per_node);
      const auto node = world.split(topology.node, topology.local_rank, "node");
      std::shared_ptr<Model> model;
      {
        const std::lock_guard lock(construction);
        torch::manual_seed(1);
        model = models::make_model(setting.model, setting.shapes);
      }
      world.barrier("models");
      tests::FakeContext device(nccl, world.rank());
      auto options = setting.step;
      if (place == Place::kDevice) options.device = &device.context();
      auto graphs = std::make_unique<tests::FakeGraphs>();
      auto* asked = graphs.get();
      asked->refuses = refuse_graphs_;
      if (graphs_) device.context().graphs = std::move(graphs);
      device.context().warn = [&](const std::string& words) {
        const std::lock_guard lock(construction);
        warnings_.push_back(words);
      };
      const RankGroup group{world, *node, topology};
      {
        TrainStep step(group, model, Objective(setting.objective, 0.1), options);
        StateKeeper keeper(group, step, files_, kFolder);
        body({group, step, keeper, setting});
        world.barrier("the end");
      }
      if (graphs_ && world.rank() == 0) {
        captured_ = asked->captured;
        launched_ = asked->launched;
      }
      if (!world.failure()) {
        EXPECT_EQ(device.device().pinned(), 0);
      }
    });
  }

  /// Of all ranks, after three steps.
  Outcome train(const Setting& setting, Place place, int ranks, int ranks_per_node = 0) {
    std::mutex mutex;
    std::vector<Outcome> outcomes;
    on_ranks(
        setting, place, ranks,
        [&](Rank rank) {
          StepResult result;
          for (std::int64_t step = 0; step < 3; ++step) result = rank.train(step);
          const Outcome mine{rank.keeper.digest(3), result.loss, result.gradient_norm};
          const std::lock_guard lock(mutex);
          outcomes.push_back(mine);
        },
        ranks_per_node);
    for (const auto& outcome : outcomes) EXPECT_EQ(outcome, outcomes[0]);
    return outcomes[0];
  }

  static constexpr char kFolder[] = "/runs/a/checkpoints";
  tests::FaultFileSystem faulty_;
  tests::LockedFileSystem files_{faulty_};
};

TEST_F(DeviceStep, HasTheBitsOfTheCpuOnAnyNumberOfRanksAndNodes) {
  for (const auto& setting : {images(), tokens()}) {
    const auto host = train(setting, Place::kHost, 1);
    const auto one = train(setting, Place::kDevice, 1);
    if (setting.objective == ObjectiveKind::kTokens) {
      // Its fused layers round elsewhere than LibTorch's operations one by one.
      EXPECT_NEAR(one.loss, host.loss, 1e-4 * host.loss);
      EXPECT_NEAR(one.norm, host.norm, 1e-3 * host.norm);
    } else {
      EXPECT_EQ(one.digest, host.digest);
      EXPECT_EQ(one.loss, host.loss);
      EXPECT_NEAR(one.norm, host.norm, 1e-9 * host.norm);  // summed in another order
    }
    for (const int ranks : {2, 3}) {
      EXPECT_EQ(train(setting, Place::kDevice, ranks), one) << setting.model.name << ranks;
    }
    EXPECT_EQ(train(setting, Place::kDevice, 4, 2), one);
  }
}

TEST_F(DeviceStep, ClipsAlikeOnAnyNumberOfRanks) {
  auto setting = images();
  setting.step.clip_norm = 0.05;
  setting.step.optimizer = {.kind = OptimizerKind::kSgd, .momentum = 0.9, .weight_decay = 0.01};
  const auto one = train(setting, Place::kDevice, 1);
  EXPECT_GT(one.norm, 0.05);
  for (const int ranks : {2, 3, 5}) EXPECT_EQ(train(setting, Place::kDevice, ranks), one);
}

TEST_F(DeviceStep, LeavesTheOrderToNcclWhenAsked) {
  auto setting = images();
  setting.step.reduction = Reduction::kFast;
  const auto one = train(setting, Place::kDevice, 1);
  EXPECT_EQ(train(setting, Place::kDevice, 2), train(setting, Place::kDevice, 2));
  EXPECT_NEAR(train(setting, Place::kDevice, 3).loss, one.loss, 1e-3);
}

TEST_F(DeviceStep, ComputesWithShortFloatsAndKeepsLongOnes) {
  for (auto setting : {images(), tokens()}) {
    const auto exact = train(setting, Place::kDevice, 1);
    setting.step.precision = Precision::kBFloat16;
    const auto one = train(setting, Place::kDevice, 1);
    EXPECT_NE(one.digest, exact.digest);
    EXPECT_NEAR(one.loss, exact.loss, 0.05 * exact.loss);
    for (const int ranks : {2, 3}) {
      EXPECT_EQ(train(setting, Place::kDevice, ranks), one) << setting.model.name;
    }
  }
}

TEST_F(DeviceStep, ComputesWithHalfFloatsAlikeOnAnyNumberOfRanks) {
  for (auto setting : {images(), tokens()}) {
    const auto exact = train(setting, Place::kDevice, 1);
    setting.step.precision = Precision::kFloat16;
    setting.step.loss_scale.initial = 1024;
    const auto one = train(setting, Place::kDevice, 1);
    EXPECT_NE(one.digest, exact.digest);
    EXPECT_NEAR(one.loss, exact.loss, 0.02 * exact.loss);
    EXPECT_NEAR(one.norm, exact.norm, 0.1 * exact.norm);
    for (const int ranks : {2, 3}) {
      EXPECT_EQ(train(setting, Place::kDevice, ranks), one) << setting.model.name;
    }
  }
}

TEST_F(DeviceStep, LeavesOutStepsWhoseHalfFloatsOverflow) {
  auto setting = images();
  setting.step.precision = Precision::kFloat16;
  setting.step.loss_scale.initial = 1e12;
  on_ranks(setting, Place::kDevice, 2, [](Rank rank) {
    const auto initial = rank.step.loss_scale().factor;
    EXPECT_EQ(initial, std::exp2(39));
    const auto before = rank.keeper.digest(0);
    const auto result = rank.train(0);
    EXPECT_TRUE(result.overflowed);
    EXPECT_TRUE(std::isfinite(result.loss));
    EXPECT_EQ(result.loss_scale, initial);
    EXPECT_EQ(rank.step.loss_scale(), (LossScale{.factor = initial / 2, .overflows = 1}));
    std::int64_t step = 1;
    while (rank.train(step++).overflowed) EXPECT_LT(step, 40);
    EXPECT_EQ(rank.step.loss_scale().overflows, step - 1);
    EXPECT_NE(rank.keeper.digest(step), before);
    EXPECT_EQ(rank.step.loss_scale().good_steps, 1);
  });
}

TEST_F(DeviceStep, KeepsTheStateThroughAnOverflow) {
  for (auto setting : {tokens(), images()}) {
    setting.step.precision = Precision::kFloat16;
    setting.step.loss_scale.initial = 1e12;
    on_ranks(setting, Place::kDevice, 3, [](Rank rank) {
      const auto before = rank.keeper.digest(0);
      EXPECT_TRUE(rank.train(0).overflowed);
      EXPECT_EQ(rank.keeper.digest(0), before) << rank.setting.model.name;
    });
  }
}

TEST_F(DeviceStep, LaunchesMicroBatchesAsGraphsWithTheSameBits) {
  for (auto setting : {images(), tokens()}) {
    setting.step.precision = Precision::kBFloat16;
    const auto eager = train(setting, Place::kDevice, 1);
    graphs_ = true;
    for (const int ranks : {1, 2}) {
      EXPECT_EQ(train(setting, Place::kDevice, ranks), eager) << setting.model.name;
      // Three steps, the first three micro-batches to warm up.
      const auto of_rank = 3 * ((setting.step.micro_batches + ranks - 1) / ranks);
      EXPECT_EQ(launched_, of_rank - 3);
      EXPECT_LE(captured_, launched_);
      if (ranks == 1) {
        EXPECT_LT(captured_, launched_);
      }
    }
    setting.step.captures_graphs = false;
    EXPECT_EQ(train(setting, Place::kDevice, 2), eager);
    EXPECT_EQ(captured_, 0);
    graphs_ = false;
  }
  EXPECT_EQ(warnings_, std::vector<std::string>());
}

TEST_F(DeviceStep, SaysLoudlyThatAMicroBatchCannotBeCaptured) {
  const auto setting = images();
  const auto eager = train(setting, Place::kDevice, 1);
  graphs_ = refuse_graphs_ = true;
  EXPECT_EQ(train(setting, Place::kDevice, 1), eager);
  ASSERT_EQ(warnings_.size(), 1);
  EXPECT_NE(warnings_[0].find("not permitted when stream is capturing"), std::string::npos);
  EXPECT_NE(warnings_[0].find("compute.cuda_graphs"), std::string::npos);
}

TEST_F(DeviceStep, ComputesActivationsAgainWithTheSameBits) {
  auto setting = tokens();
  setting.step.precision = Precision::kBFloat16;
  const auto whole = train(setting, Place::kDevice, 1);
  setting.step.recompute = true;
  EXPECT_EQ(train(setting, Place::kDevice, 1), whole);
  EXPECT_EQ(train(setting, Place::kDevice, 3), whole);
  setting.step.precision = Precision::kFloat32;
  EXPECT_EQ(train(setting, Place::kHost, 2), train(tokens(), Place::kHost, 1));
}

TEST_F(DeviceStep, TakesItsLastStepBack) {
  auto setting = images();
  setting.step.precision = Precision::kBFloat16;
  setting.step.keep_last_step = true;
  const auto whole = train(setting, Place::kDevice, 1);
  on_ranks(setting, Place::kDevice, 3, [&](Rank rank) {
    rank.train(0);
    const auto before = rank.keeper.digest(2);
    rank.train(1);
    EXPECT_NE(rank.keeper.digest(2), before);
    rank.step.take_back(2, 2, "");
    EXPECT_EQ(rank.keeper.digest(2), before);
    // Short copies as well: the next steps are those of a run without the detour.
    rank.train(1);
    rank.train(2);
    EXPECT_EQ(rank.keeper.digest(3), whole.digest);
  });
}

TEST_F(DeviceStep, GivesShortFiltersTheirChannelsLast) {
  auto setting = images();
  setting.step.precision = Precision::kBFloat16;
  on_ranks(setting, Place::kDevice, 1, [](Rank rank) {
    rank.train(0);
    auto& space = rank.step.parameters();
    space.refresh();
    int filters = 0;
    for (const auto& entry : space.layout().parameters) {
      if (entry.shape.size() != 4) continue;
      ++filters;
      const auto filter = space.model().named_parameters()[entry.name].detach();
      const auto exact =
          view_of(space.memory().flat + entry.offset, entry.shape, space.memory().device);
      EXPECT_TRUE(filter.is_contiguous(at::MemoryFormat::ChannelsLast)) << entry.name;
      EXPECT_TRUE(at::equal(filter, exact.to(at::kBFloat16))) << entry.name;
    }
    EXPECT_GT(filters, 0);
    const auto image = at::rand({2, 3, 8, 8});
    EXPECT_TRUE(space.as_inputs(image).is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(at::equal(space.as_inputs(image), image));
  });
}

/// This rank's micro-batches, step after step, as a loader gives them.
class Feed {
 public:
  Feed(const Rank& rank, std::int64_t step)
      : rank_(rank), range_(rank.step.micro_batch_range()), step_(step), index_(range_.begin) {}
  MicroBatch operator()() {
    const auto batch = micro_batch(rank_.setting, step_, index_);
    ++given_;
    if (++index_ == range_.end) {
      index_ = range_.begin;
      ++step_;
    }
    return batch;
  }
  std::int64_t given() const { return given_; }

 private:
  Rank rank_;
  comm::LeafRange range_;
  std::int64_t step_, index_, given_ = 0;
};

TEST_F(DeviceStep, BeginsTheNextStepAheadWithTheSameBits) {
  for (auto setting : {images(), tokens()}) {
    const auto whole = train(setting, Place::kDevice, 1);
    for (const int ranks : {1, 3}) {
      for (const bool graphs : {false, true}) {
        graphs_ = graphs;
        on_ranks(setting, Place::kDevice, ranks, [&](Rank rank) {
          Feed feed(rank, 0);
          const auto next = [&] { return feed(); };
          StepResult result;
          for (std::int64_t step = 0; step < 3; ++step) {
            result = rank.step(step, next, {}, step < 2);
            rank.keeper.digest(step + 1);  // as a save does in between
          }
          EXPECT_EQ((Outcome{rank.keeper.digest(3), result.loss, result.gradient_norm}), whole);
        });
      }
    }
  }
  graphs_ = false;
}

TEST_F(DeviceStep, ComputesWhatItBeganOnceMoreWhereTheStateChanged) {
  auto setting = images();
  setting.step.keep_last_step = true;
  std::string right;
  on_ranks(setting, Place::kDevice, 1, [&](Rank rank) {
    rank.train(0);
    rank.train(2);
    right = rank.keeper.digest(3);
  });
  on_ranks(setting, Place::kDevice, 1, [&](Rank rank) {
    rank.train(0);
    Feed feed(rank, 1);
    const auto next = [&] { return feed(); };
    rank.step(1, next, {}, true);
    EXPECT_EQ(feed.given(), rank.step.micro_batch_range().size() + 1);
    rank.step.take_back(2, 2, "");
    rank.step(2, next, {});
    EXPECT_EQ(rank.keeper.digest(3), right);
  });
}

TEST_F(DeviceStep, TellsWhereItsTimeWent) {
  on_ranks(images(), Place::kDevice, 2, [](Rank rank) {
    for (std::int64_t step = 0; step < 2; ++step) {
      rank.train(step);
      const auto& times = rank.step.times();
      EXPECT_GT(times.backward.count(), 0);
      EXPECT_GT(times.exchange.count(), 0);
      EXPECT_GE(times.optimizer.count(), 0);
      EXPECT_GE(times.hidden.count(), 0);
      EXPECT_LT(times.backward + times.exchange + times.optimizer, std::chrono::seconds(60));
    }
  });
}

TEST_F(DeviceStep, TellsEveryRankOfSignalsOfAny) {
  on_ranks(tokens(), Place::kDevice, 3, [](Rank rank) {
    const int number = rank.group.world.rank();
    const auto result = rank.train(0, {.stop_requests = number, .save_asked = number % 2});
    EXPECT_EQ(result.signals.stop_requests, 2);
    EXPECT_EQ(result.signals.save_asked, 1);
  });
}

TEST_F(DeviceStep, SavesTheStateOfItsStepWhileTrainingGoesOn) {
  const auto setting = images();
  std::string digest;
  on_ranks(setting, Place::kDevice, 3, [&](Rank rank) {
    CheckpointSaver saver({.files = files_, .directory = kFolder, .clock = base::Clock::system()},
                          rank.group, rank.step);
    for (std::int64_t step = 0; step < 2; ++step) rank.train(step);
    const auto before = rank.keeper.digest(2);
    if (rank.group.world.rank() == 0) digest = before;
    saver.begin({.info = {.step = 2}, .retention = {.keep = 1}});
    for (std::int64_t step = 2; saver.busy() && step < 200; ++step) {
      saver.advance(rank.train(step, {.job = saver.job()}).signals.job);
    }
    EXPECT_FALSE(saver.busy());
  });
  checkpoints::CheckpointStore store(files_, kFolder);
  const auto path = store.newest_good();
  ASSERT_TRUE(path);
  EXPECT_EQ(store.open(*path).state_digest, digest);
}

TEST_F(DeviceStep, GoesOnFromACheckpointThatTheOtherPlaceWrote) {
  const auto setting = images();
  const auto whole = train(setting, Place::kHost, 1);
  for (const auto& [first, second] :
       {std::pair(Place::kHost, Place::kDevice), std::pair(Place::kDevice, Place::kHost),
        std::pair(Place::kDevice, Place::kDevice)}) {
    faulty_ = tests::FaultFileSystem();
    faulty_.put("/runs/a/ledger.jsonl", "");
    on_ranks(setting, first, 2, [&](Rank rank) {
      CheckpointSaver saver({.files = files_, .directory = kFolder, .clock = base::Clock::system()},
                            rank.group, rank.step);
      for (std::int64_t step = 0; step < 2; ++step) rank.train(step);
      saver.save_and_wait({.info = {.step = 2}, .retention = {.keep = 1}});
    });
    on_ranks(setting, second, 3, [&](Rank rank) {
      const auto path = *checkpoints::CheckpointStore(files_, kFolder).newest_good();
      rank.keeper.load(path);
      rank.train(2);
      EXPECT_EQ(rank.keeper.digest(3), whole.digest);
    });
  }
}

TEST_F(DeviceStep, NamesADeviceWhoseParametersHaveChangedByThemselves) {
  auto setting = images();
  setting.step.compare_nodes_every_steps = 2;
  EXPECT_THROW(on_ranks(setting, Place::kDevice, 3,
                        [&](Rank rank) {
                          rank.train(0);
                          if (rank.group.world.rank() == 1) {
                            rank.step.parameters().memory().flat[3] += 1;
                          }
                          rank.train(1);
                        }),
               base::CommError);
}

}  // namespace
}  // namespace lockstep::trainer
