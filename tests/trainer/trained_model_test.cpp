#include "trainer/trained_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <mutex>

#include "base/error.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/trainer/asked_model.hpp"
#include "tests/trainer/one_of_each.hpp"
#include "trainer/checkpoint_saver.hpp"

namespace lockstep::trainer {
namespace {

using testing::HasSubstr;
using tests::OneOfEach;

class TrainedModelTest : public testing::Test {
 protected:
  /// A checkpoint of OneOfEach(4) with Adam's state.
  void save() {
    on_ranks(2, [&](RankGroup group) {
      TrainStepOptions options;
      options.micro_batches = 2;
      options.optimizer.kind = OptimizerKind::kAdam;
      TrainStep step(group, std::make_shared<OneOfEach>(4.0F),
                     Objective(ObjectiveKind::kRegression, 0), options);
      CheckpointSaver saver({.files = base::FileSystem::posix(),
                             .directory = directory_.path(),
                             .clock = base::Clock::system(),
                             .copies = CheckpointSaverOptions::Copies::kNone},
                            group, step);
      saver.save_and_wait({.info = {.step = 1}});
    });
  }

  static void on_ranks(int ranks, const std::function<void(RankGroup)>& body,
                       int ranks_per_node = 0) {
    comm::run_on_threads(ranks, [&](comm::Communicator& world) {
      const auto topology = comm::discover_topology(world, comm::this_host(), ranks_per_node);
      const auto node = world.split(topology.node, topology.local_rank, "node");
      body({world, *node, topology});
    });
  }

  void load_on(int ranks, int ranks_per_node = 0) {
    on_ranks(
        ranks,
        [&](RankGroup group) {
          TrainedModel model(group, std::make_shared<OneOfEach>(0.0F));
          checkpoints::CheckpointStore store(base::FileSystem::posix(), directory_.path());
          const auto manifest = model.load(store, checkpoint_);
          EXPECT_EQ(manifest.info.step, 1);
          auto& space = model.parameters();
          space.reset_buffers();
          const auto parameters = space.model().named_parameters();
          const auto buffers = space.model().named_buffers();
          EXPECT_TRUE(parameters["weight"].eq(4).all().item<bool>());
          EXPECT_TRUE(parameters["frozen"].eq(5).all().item<bool>());
          EXPECT_TRUE(buffers["mean"].eq(6).all().item<bool>());
          EXPECT_TRUE(buffers["count"].eq(7).all().item<bool>());
        },
        ranks_per_node);
  }

  void flip_last_byte(const std::string& name) {
    std::fstream file(checkpoint_ + "/" + name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-1, std::ios::end);
    const auto byte = static_cast<char>(file.peek());
    file.seekp(-1, std::ios::end);
    file.put(static_cast<char>(byte ^ 1));
  }

  tests::TemporaryDirectory directory_;
  std::string checkpoint_ = directory_.file("step-00000001");
};

TEST_F(TrainedModelTest, HasEveryValueOnAnyRanksAndNodes) {
  save();
  load_on(1);
  load_on(3);
  load_on(4, 2);
}

TEST_F(TrainedModelTest, RefusesACheckpointWhoseOptimizerAloneIsDamaged) {
  save();
  flip_last_byte("optimizer.safetensors");
  for (const int ranks : {1, 3}) {
    try {
      load_on(ranks);
      FAIL() << "a damaged checkpoint was used";
    } catch (const base::Error& error) {
      EXPECT_EQ(error.code(), base::ExitCode::kCheckpoint);
      EXPECT_THAT(error.what(), HasSubstr("optimizer.safetensors"));
    }
  }
}

TEST_F(TrainedModelTest, RefusesAnotherModelsCheckpoint) {
  save();
  try {
    on_ranks(2, [&](RankGroup group) {
      TrainedModel model(group, std::make_shared<tests::EchoModel>());
      checkpoints::CheckpointStore store(base::FileSystem::posix(), directory_.path());
      model.load(store, checkpoint_);
    });
    FAIL() << "it fits";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.code(), base::ExitCode::kCheckpoint);
    EXPECT_THAT(error.what(), HasSubstr("of another model"));
  }
}

}  // namespace
}  // namespace lockstep::trainer
