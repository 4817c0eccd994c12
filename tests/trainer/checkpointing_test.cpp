// The room that a run's checkpoints need is looked at before the first step, and saves that fall
// due while another one is under way are not forgotten.

#include "trainer/checkpointing.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/thread_communicator.hpp"
#include "tests/support/fault_file_system.hpp"
#include "tests/support/locked_file_system.hpp"
#include "tests/trainer/one_of_each.hpp"

namespace lockstep::trainer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kFolder[] = "/runs/a/checkpoints";
// 3000 parameters with two states, 5 frozen, 7 of a buffer, 2 counters.
constexpr std::uint64_t kFrozenBytes = 20;
constexpr std::uint64_t kStateBytes = 3 * 12000 + kFrozenBytes + 28 + 16;

class CheckpointingTest : public testing::Test {
 protected:
  CheckpointingTest() {
    files_.make_directories(kFolder);
    config_.checkpoint.every_steps = 1;
    config_.checkpoint.every_epochs = 0;
  }

  void on_ranks(int ranks, const std::function<void(Checkpointing&, comm::Communicator&)>& body) {
    comm::run_on_threads(ranks, [&](comm::Communicator& world) {
      const auto topology = comm::discover_topology(world, comm::this_host(), 0);
      const auto node = world.split(topology.node, topology.local_rank, "node");
      TrainStepOptions options;
      options.micro_batches = ranks;
      options.optimizer.kind = OptimizerKind::kAdam;
      TrainStep step({world, *node, topology}, std::make_shared<tests::OneOfEach>(4.0F),
                     Objective(ObjectiveKind::kRegression, 0), options);
      Checkpointing checkpointing(
          {.config = config_,
           .files = files_,
           .directory = kFolder,
           .clock = base::Clock::system(),
           .warn = [&](const std::string& text) { warnings_.push_back(text); }},
          {world, *node, topology}, step);
      body(checkpointing, world);
    });
  }

  std::vector<std::int64_t> steps() {
    std::vector<std::int64_t> steps;
    for (const auto& summary : checkpoints::CheckpointStore(files_, kFolder).list()) {
      steps.push_back(summary.step);
    }
    return steps;
  }

  static StepNote note(std::int64_t step, JobState job) {
    StepNote note;
    note.step = step;
    note.result.signals.job = job;
    return note;
  }

  configs::RunConfig config_;
  tests::FaultFileSystem faulty_;
  tests::LockedFileSystem files_{faulty_};
  std::vector<std::string> warnings_;
};

TEST_F(CheckpointingTest, RefusesToStartWhereACheckpointAndItsSuccessorDoNotFit) {
  faulty_.set_free_bytes(2 * kStateBytes - kFrozenBytes - 1);

  try {
    on_ranks(2, [](Checkpointing&, comm::Communicator&) {});
    FAIL() << "it started";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.code(), base::ExitCode::kEnvironment);
    EXPECT_STREQ(error.what(),
                 "disk of '/runs/a/checkpoints' has 70.4 KiB free, a checkpoint and its successor "
                 "need 70.4 KiB (each has 35.2 KiB, and the old one goes when the new one is "
                 "complete); free space there or set run.directory to another disk");
  }
}

TEST_F(CheckpointingTest, WarnsWhereThoseThatAreToStayWillNotFit) {
  // Three, the best one, and the one being written.
  const auto enough = 5 * kStateBytes - 4 * kFrozenBytes;
  faulty_.set_free_bytes(enough - 1);
  on_ranks(1, [](Checkpointing&, comm::Communicator&) {});
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("later saves may fail")));
  warnings_.clear();

  faulty_.set_free_bytes(enough);
  on_ranks(1, [](Checkpointing&, comm::Communicator&) {});
  EXPECT_THAT(warnings_, IsEmpty());
}

// Saves by steps once moved when a former one took long, so that which checkpoints there were, and
// with them what a rollback made of a run, depended on the disk.
TEST_F(CheckpointingTest, SavesByStepsAtThoseStepsWhateverIsUnderWay) {
  config_.checkpoint.every_steps = 100;
  on_ranks(1, [&](Checkpointing& checkpointing, comm::Communicator&) {
    EXPECT_FALSE(checkpointing.wanted(note(99, JobState::kNone), false));
    EXPECT_TRUE(checkpointing.wanted(note(100, JobState::kNone), false));
    checkpointing.save({.step = 100}, -1);
    EXPECT_FALSE(checkpointing.wanted(note(101, JobState::kRunning), false));
    EXPECT_TRUE(checkpointing.wanted(note(200, JobState::kRunning), false));
    checkpointing.save({.step = 200}, -1);
    checkpointing.save_and_wait({.step = 201}, -1);
    EXPECT_THAT(steps(), ElementsAre(100, 200, 201));
  });
}

TEST_F(CheckpointingTest, SavesByTimeLaterWhereAnotherSaveIsUnderWay) {
  config_.checkpoint.every_steps = 0;
  on_ranks(1, [&](Checkpointing& checkpointing, comm::Communicator&) {
    checkpointing.save({.step = 100}, -1);
    auto asked = note(150, JobState::kRunning);
    asked.result.signals.save_asked = 1;
    EXPECT_FALSE(checkpointing.wanted(asked, false));

    std::int64_t step = 150;
    while (!checkpointing.wanted(note(step, JobState::kNone), false)) {
      checkpointing.step_done(note(++step, checkpointing.signals(0).job));
    }
    checkpointing.save({.step = step}, -1);
    checkpointing.save_and_wait({.step = step + 1}, -1);
    EXPECT_THAT(steps(), ElementsAre(100, step, step + 1));
    EXPECT_GT(step, 150);
  });
}

// A stop saves in between; without this it would push out what a rollback goes back to.
TEST_F(CheckpointingTest, KeepsWhatARollbackWouldGoBackTo) {
  config_.checkpoint.every_steps = 100;
  config_.checkpoint.keep = 1;
  config_.train.divergence.policy = "rollback";
  on_ranks(1, [&](Checkpointing& checkpointing, comm::Communicator&) {
    for (const std::int64_t step : {100, 133, 150}) checkpointing.save_and_wait({.step = step}, -1);
    EXPECT_THAT(steps(), ElementsAre(100, 150));
    checkpointing.save_and_wait({.step = 200}, -1);
    EXPECT_THAT(steps(), ElementsAre(200));
  });
}

TEST_F(CheckpointingTest, SavesAnEvaluatedStepEvenWhileAnotherSaveIsUnderWay) {
  on_ranks(1, [&](Checkpointing& checkpointing, comm::Communicator&) {
    checkpointing.save({.step = 1}, -1);

    EXPECT_TRUE(checkpointing.wanted(note(2, JobState::kRunning), true));
    checkpointing.save({.step = 2}, 2);
    checkpointing.save_and_wait({.step = 3}, 2);

    EXPECT_THAT(steps(), ElementsAre(1, 2, 3));
  });
}

TEST_F(CheckpointingTest, WaitsForEachSaveWhereTheyAreNotInTheBackground) {
  config_.checkpoint.background = false;
  on_ranks(2, [&](Checkpointing& checkpointing, comm::Communicator& world) {
    checkpointing.save({.step = 1}, -1);

    if (world.rank() == 0) {
      EXPECT_THAT(steps(), ElementsAre(1));
    }
    world.barrier("looked at");
  });
}

}  // namespace
}  // namespace lockstep::trainer
