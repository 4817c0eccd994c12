// Saving while training goes on, on threads: what is durable is the state of the step that was
// saved, and a save that fails harms neither training nor the checkpoint before it.

#include "trainer/checkpoint_saver.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <latch>
#include <mutex>
#include <thread>

#include "checkpoints/ledger.hpp"
#include "comm/thread_communicator.hpp"
#include "tests/support/fault_file_system.hpp"
#include "tests/support/locked_file_system.hpp"
#include "tests/trainer/one_of_each.hpp"
#include "trainer/state_keeper.hpp"

namespace lockstep::trainer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kFolder[] = "/runs/a/checkpoints";
constexpr int kRanks = 3;

/// One rank of a run without arithmetic: its state is what `set` makes it.
struct Rank {
  RankGroup group;
  TrainStep& step;
  StateKeeper& keeper;

  /// All of the state becomes numbers that follow from `value`. Collective.
  void set(float value, CheckpointSaver* saver = nullptr) {
    if (saver != nullptr) saver->complete_copy();
    step.node_barrier("before a change");
    auto& space = step.parameters();
    const auto own = step.own_blocks();
    for (auto block = own.begin; block < own.end; ++block) {
      const auto range = step.blocks()[static_cast<std::size_t>(block)];
      std::fill(space.memory().flat + range.begin, space.memory().flat + range.end, value);
      if (range.begin >= space.layout().parameter_count) continue;
      for (std::size_t state = 0; state < 2; ++state) {
        std::fill_n(step.state_at(state, range.begin), range.count(), value * 2);
      }
    }
    std::fill(space.counters().begin(), space.counters().end(), static_cast<std::int64_t>(value));
    step.node_barrier("a changed state");
  }

  /// What a step does for the saver: the ranks tell each other their jobs. Collective.
  void boundary(CheckpointSaver& saver) {
    const auto mine = saver.job();
    std::vector<JobState> jobs(static_cast<std::size_t>(group.world.size()));
    group.world.all_gather(std::as_bytes(std::span(&mine, 1)),
                           std::as_writable_bytes(std::span(jobs)), "jobs");
    auto all = JobState::kNone;
    for (const auto job : jobs) all = combined(all, job);
    saver.advance(all);
  }
};

/// With the state copied for each save, and held by the step.
class CheckpointSaverTest : public testing::TestWithParam<bool> {
 protected:
  CheckpointSaverTest() { faulty_.put("/runs/a/ledger.jsonl", ""); }

  void on_ranks(int ranks, const std::function<void(Rank)>& body) {
    static base::FileSystem& posix = base::FileSystem::posix();
    comm::run_on_threads(ranks, [&](comm::Communicator& world) {
      const auto topology = comm::discover_topology(world, comm::this_host(), 0);
      const auto node = world.split(topology.node, topology.local_rank, "node");
      const RankGroup group{world, *node, topology};
      TrainStepOptions options;
      options.micro_batches = kRanks;
      options.optimizer.kind = OptimizerKind::kAdam;
      options.keep_last_step = options.hold_for_saves = GetParam();
      TrainStep step(group, std::make_shared<tests::OneOfEach>(4.0F),
                     Objective(ObjectiveKind::kRegression, 0), options);
      StateKeeper keeper(group, step, posix, kFolder);
      body({group, step, keeper});
    });
  }

  /// With an observer on rank 0 that notes what it is told.
  CheckpointSaverOptions options(const Rank& rank) {
    CheckpointSaverOptions options{
        .files = files_, .directory = kFolder, .clock = base::Clock::system()};
    if (rank.group.world.rank() != 0) return options;
    options.observer = {
        .digest_known =
            [this](std::int64_t step, const std::string& digest) {
              digests_[step] = digest;
              return std::function<void()>([this] { seen_before_commit_ = steps(); });
            },
        .saved = [this](const SavedCheckpoint& saved) { saved_.push_back(saved.step); },
        .failed = [this](std::int64_t, const std::string& reason) { failed_.push_back(reason); }};
    return options;
  }

  std::vector<std::int64_t> steps() {
    std::vector<std::int64_t> steps;
    for (const auto& summary : checkpoints::CheckpointStore(files_, kFolder).list()) {
      if (summary.valid) steps.push_back(summary.step);
    }
    return steps;
  }
  std::string newest_digest() {
    checkpoints::CheckpointStore store(files_, kFolder);
    const auto path = store.newest_good();
    return path ? store.open(*path).state_digest : "";
  }

  tests::FaultFileSystem faulty_;
  tests::LockedFileSystem files_{faulty_};
  std::map<std::int64_t, std::string> digests_;
  std::vector<std::int64_t> seen_before_commit_, saved_;
  std::vector<std::string> failed_;
};

INSTANTIATE_TEST_SUITE_P(Ways, CheckpointSaverTest, testing::Bool(),
                         [](const auto& way) { return way.param ? "held" : "copied"; });

TEST_P(CheckpointSaverTest, SavesTheStateOfItsStepWhileTrainingChangesIt) {
  for (const int ranks : {1, 2, kRanks}) {
    on_ranks(ranks, [&](Rank rank) {
      CheckpointSaver saver(options(rank), rank.group, rank.step);
      rank.set(1);
      const auto digest = rank.keeper.digest(7);

      saver.begin({.info = {.step = 7}, .retention = {.keep = 1}});
      EXPECT_TRUE(saver.busy());
      for (float value = 2; saver.busy(); ++value) {
        rank.set(value, &saver);
        rank.boundary(saver);
      }

      if (rank.group.world.rank() != 0) return;
      EXPECT_EQ(newest_digest(), digest) << ranks << " ranks";
      EXPECT_EQ(digests_[7], digest);
      EXPECT_THAT(seen_before_commit_, IsEmpty());
      EXPECT_THAT(saved_, ElementsAre(7));
      EXPECT_THAT(failed_, IsEmpty());
    });
    faulty_.remove_all(kFolder);
    saved_.clear();
  }
}

/// With parameters, buffers and a counter that steps change.
class Normed final : public Model {
 public:
  explicit Normed(std::mutex& mutex) {
    const std::lock_guard lock(mutex);  // of torch's own random numbers
    layers_ = register_module(
        "layers", torch::nn::Sequential(torch::nn::Linear(20, 90), torch::nn::BatchNorm1d(90),
                                        torch::nn::Linear(90, 7)));
  }
  torch::Tensor forward(const torch::Tensor& inputs, const ForwardContext&) override {
    return layers_->forward(inputs);
  }

 private:
  torch::nn::Sequential layers_{nullptr};
};

TEST_P(CheckpointSaverTest, CopiesEachPieceBeforeARealStepChangesIt) {
  std::mutex construction;
  for (const int ranks : {1, 2, kRanks}) {
    for (const double clip_norm : {0.0, 0.05}) {
      comm::run_on_threads(ranks, [&](comm::Communicator& world) {
        const auto topology = comm::discover_topology(world, comm::this_host(), 0);
        const auto node = world.split(topology.node, topology.local_rank, "node");
        const RankGroup group{world, *node, topology};
        TrainStepOptions setting;
        setting.micro_batches = kRanks;
        setting.micro_batch = 4;
        setting.clip_norm = clip_norm;
        setting.keep_last_step = setting.hold_for_saves = GetParam();
        setting.optimizer.kind = OptimizerKind::kAdamW;
        setting.schedule = {.base_lr = 0.01, .total_steps = 100};
        TrainStep step(group, std::make_shared<Normed>(construction),
                       Objective(ObjectiveKind::kClassification, 0), setting);
        StateKeeper keeper(group, step, files_, kFolder);
        CheckpointSaver saver(options({group, step, keeper}), group, step);
        std::int64_t steps = 0;
        const auto train = [&] {
          auto index = step.micro_batch_range().begin;
          const auto next = [&] {
            auto random =
                at::detail::createCPUGenerator(static_cast<std::uint64_t>(steps * kRanks + index));
            return MicroBatch{index++, torch::randn({4, 20}, random),
                              torch::randint(0, 7, {4}, random, at::TensorOptions(at::kLong))};
          };
          const auto result = step(steps, next, {.job = saver.job()});
          ++steps;
          saver.advance(result.signals.job);
        };
        train();
        train();
        const auto digest = keeper.digest(2);

        saver.begin({.info = {.step = 2}});
        while (saver.busy()) train();

        EXPECT_GE(steps, 5);
        EXPECT_NE(keeper.digest(2), digest);
        if (world.rank() == 0) {
          EXPECT_EQ(newest_digest(), digest) << ranks << " ranks, clipped at " << clip_norm;
          faulty_.remove_all(kFolder);
        }
      });
    }
  }
}

TEST_P(CheckpointSaverTest, SavesOneAfterTheOtherFromTheSameMemory) {
  on_ranks(2, [&](Rank rank) {
    CheckpointSaver saver(options(rank), rank.group, rank.step);
    std::string digest;
    for (int step = 1; step <= 4; ++step) {
      rank.set(static_cast<float>(step));
      digest = rank.keeper.digest(step);
      saver.begin({.info = {.step = step}, .retention = {.keep = 2}});
      saver.finish();
    }

    if (rank.group.world.rank() != 0) return;
    EXPECT_THAT(steps(), ElementsAre(3, 4));
    EXPECT_EQ(newest_digest(), digest);
  });
}

TEST_P(CheckpointSaverTest, EndsTheSaveUnderWayBeforeTheOneThatIsWaitedFor) {
  on_ranks(2, [&](Rank rank) {
    CheckpointSaver saver(options(rank), rank.group, rank.step);
    rank.set(1);
    saver.begin({.info = {.step = 1}, .retention = {.keep = 5}});
    rank.set(2, &saver);
    const auto digest = rank.keeper.digest(2);

    EXPECT_EQ(saver.save_and_wait({.info = {.step = 2}, .retention = {.keep = 5}}), digest);

    EXPECT_FALSE(saver.busy());
    if (rank.group.world.rank() != 0) return;
    EXPECT_THAT(saved_, ElementsAre(1, 2));
    EXPECT_EQ(newest_digest(), digest);
  });
}

TEST_P(CheckpointSaverTest, RefusesASaveBesideAnotherOne) {
  on_ranks(1, [&](Rank rank) {
    CheckpointSaver saver(options(rank), rank.group, rank.step);
    saver.begin({.info = {.step = 1}});

    EXPECT_THROW(saver.begin({.info = {.step = 2}}), base::InternalError);
  });
}

TEST_P(CheckpointSaverTest, GoesOnWithTheOldOneOrTheNewOneWhicheverCallFails) {
  on_ranks(2, [&](Rank rank) {
    const bool first = rank.group.world.rank() == 0;
    bool failed = true;
    for (int n = 1; failed; ++n) {
      ASSERT_LT(n, 300);
      CheckpointSaver saver(options(rank), rank.group, rank.step);
      rank.set(1);
      const auto old_digest = saver.save_and_wait({.info = {.step = 1}});
      rank.set(2);
      const auto new_digest = rank.keeper.digest(2);
      int before = 0;
      if (first) {
        failed_.clear();
        before = faulty_.changes();
        faulty_.fail_at(before + n, EIO);
      }
      rank.group.world.barrier("the fault is armed");

      saver.begin({.info = {.step = 2}});
      saver.finish();

      if (first) {
        failed = faulty_.changes() >= before + n;
        faulty_.fail_at(0, 0);
        const auto found = newest_digest();
        EXPECT_TRUE(found == old_digest || found == new_digest) << "change " << n;
        EXPECT_TRUE(found == new_digest || !failed_.empty()) << "change " << n << " was hushed up";
      }
      int goes_on = failed ? 1 : 0;
      rank.group.world.broadcast(std::as_writable_bytes(std::span(&goes_on, 1)), 0, "goes on");
      failed = goes_on != 0;
      rank.set(3);
      const auto next_digest = saver.save_and_wait({.info = {.step = 3}});
      if (first) {
        EXPECT_EQ(newest_digest(), next_digest) << "change " << n;
        EXPECT_THAT(steps(), ElementsAre(3)) << "change " << n;
        faulty_.remove_all(kFolder);
      }
      rank.group.world.barrier("the next round");
      if (!failed && first) {
        EXPECT_GT(n, 20) << "so few changes cannot be a save";
      }
    }
  });
}

TEST_P(CheckpointSaverTest, KeepsTheOldOneWhereverTheDiskBecomesFull) {
  on_ranks(2, [&](Rank rank) {
    const bool first = rank.group.world.rank() == 0;
    CheckpointSaver saver(options(rank), rank.group, rank.step);
    rank.set(1);
    const auto old_digest = saver.save_and_wait({.info = {.step = 1}});
    for (std::uint64_t room = 0; room < 36000; room += 3000) {
      if (first) {
        failed_.clear();
        faulty_.fill_after(room);
      }
      rank.set(2);
      saver.begin({.info = {.step = 2}});
      saver.finish();
      if (!first) continue;
      EXPECT_EQ(newest_digest(), old_digest) << room;
      ASSERT_EQ(failed_.size(), 1u) << room;
      EXPECT_THAT(failed_[0], HasSubstr("No space left on device"));
      EXPECT_EQ(faulty_.list(kFolder).size(), 1u) << room << ": something was left";
    }
    if (first) faulty_.make_room();
    const auto digest = saver.save_and_wait({.info = {.step = 2}});
    if (first) {
      EXPECT_EQ(newest_digest(), digest);
    }
  });
}

TEST_P(CheckpointSaverTest, MakesTheFailureThatADrillAsksForOnOneRankAlone) {
  on_ranks(2, [&](Rank rank) {
    auto with_fault = options(rank);
    with_fault.faults = base::FaultPlan::parse("disk-full rank=1 phase=save step=2")
                            .for_rank(rank.group.world.rank(), 0);
    CheckpointSaver saver(std::move(with_fault), rank.group, rank.step);
    for (const int step : {1, 2, 3}) {
      saver.begin({.info = {.step = step}, .retention = {.keep = 5}});
      saver.finish();
    }

    if (rank.group.world.rank() != 0) return;
    EXPECT_THAT(steps(), ElementsAre(1, 3));
    ASSERT_EQ(failed_.size(), 1u);
    EXPECT_THAT(failed_[0], HasSubstr("rank 1: writing"));
    EXPECT_THAT(failed_[0], HasSubstr("No space left on device"));
  });
}

TEST_P(CheckpointSaverTest, ThrowsTheFirstRanksErrorOnAllRanksWhereTheSaveIsWaitedFor) {
  on_ranks(kRanks, [&](Rank rank) {
    auto with_fault = options(rank);
    with_fault.faults = base::FaultPlan::parse(
                            "disk-full rank=1 phase=save; disk-full rank=2 "
                            "phase=save")
                            .for_rank(rank.group.world.rank(), 0);
    CheckpointSaver saver(std::move(with_fault), rank.group, rank.step);
    try {
      saver.save_and_wait({.info = {.step = 1}});
      ADD_FAILURE() << "nothing was thrown";
    } catch (const base::Error& error) {
      EXPECT_EQ(error.code(), base::ExitCode::kEnvironment);
      EXPECT_THAT(error.what(), HasSubstr("rank 1: writing"));
    }
    EXPECT_FALSE(saver.busy());
    if (rank.group.world.rank() == 0) {
      EXPECT_THAT(faulty_.list(kFolder), IsEmpty());
    }
  });
  EXPECT_THAT(failed_, IsEmpty()) << "what is thrown is told by whoever catches it";
}

TEST_P(CheckpointSaverTest, SavesNothingWhenWhatMustBeDurableBeforeIsNot) {
  on_ranks(2, [&](Rank rank) {
    auto without_ledger = options(rank);
    if (rank.group.world.rank() == 0) {
      without_ledger.observer.digest_known = [](std::int64_t, const std::string&) {
        return std::function<void()>([] { throw base::IoError("syncing failed", EIO); });
      };
    }
    CheckpointSaver saver(std::move(without_ledger), rank.group, rank.step);
    saver.begin({.info = {.step = 1}});
    saver.finish();

    if (rank.group.world.rank() != 0) return;
    EXPECT_THAT(faulty_.list(kFolder), IsEmpty());
    EXPECT_THAT(failed_, ElementsAre("rank 0: syncing failed"));
  });
}

TEST_P(CheckpointSaverTest, LeavesALedgerThatReachesTheNewestGoodOneWhereverThePowerIsCut) {
  constexpr char kLedger[] = "/runs/a/ledger.jsonl";
  const auto line = [](std::int64_t step) {
    return checkpoints::LedgerEntry{.step = step, .samples = "5a"};
  };
  on_ranks(1, [&](Rank rank) {
    bool cut = true;
    for (int n = 1; cut; ++n) {
      ASSERT_LT(n, 300);
      std::map<std::int64_t, std::string> right;
      std::unique_ptr<checkpoints::LedgerWriter> ledger;
      auto with_ledger = options(rank);
      with_ledger.observer.digest_known = [&](std::int64_t step, const std::string& digest) {
        ledger->append_digest(step, digest);
        return std::function<void()>(
            [&] { files_.open(kLedger, base::OpenMode::kExisting)->sync(); });
      };
      faulty_.remove_all(kFolder);
      faulty_.put(kLedger, "");
      bool reached = false;
      {
        CheckpointSaver saver(std::move(with_ledger), rank.group, rank.step);
        ledger = std::make_unique<checkpoints::LedgerWriter>(files_, kLedger, 0);
        ledger->append(line(1));
        rank.set(1);
        right[1] = saver.save_and_wait({.info = {.step = 1}});
        const auto before = faulty_.changes();
        faulty_.cut_power_at(before + n);
        try {
          ledger->append(line(2));
          rank.set(2);
          right[2] = rank.keeper.digest(2);
          saver.begin({.info = {.step = 2}});
          for (std::int64_t step = 3; saver.busy(); ++step) {
            // Not without end where the machine is busy: each line is a change of its own.
            if (step < 40) {
              ledger->append(line(step));
              rank.set(static_cast<float>(step), &saver);
            } else {
              std::this_thread::sleep_for(std::chrono::milliseconds(1));
            }
            rank.boundary(saver);
          }
        } catch (const tests::PowerCut&) {
          reached = true;
        }
      }  // the thread may go on until here, and finds the power gone
      cut = reached || !failed_.empty();
      failed_.clear();
      faulty_.restart(tests::Unsynced::kPartial, static_cast<std::uint64_t>(n));

      checkpoints::CheckpointStore store(files_, kFolder);
      const auto found = store.newest_good();
      ASSERT_TRUE(found) << "cut at change " << n;
      const auto manifest = store.open(*found);
      const auto step = manifest.info.step;
      EXPECT_EQ(manifest.state_digest, right[step]) << "cut at change " << n;
      EXPECT_TRUE(cut || step == 2) << "cut at change " << n;
      ASSERT_NO_THROW(checkpoints::LedgerWriter(files_, kLedger, step)) << "cut at change " << n;
      const auto check = checkpoints::read_ledger(files_, kLedger);
      EXPECT_EQ(check.problem, "") << "cut at change " << n;
      EXPECT_EQ(check.entries.back().state_digest, right[step]) << "cut at change " << n;
      EXPECT_TRUE(cut || n > 20) << "so few changes cannot be a save";
    }
  });
}

TEST_P(CheckpointSaverTest, LeavesTheOldOneWhenItEndsInTheMiddleOfASave) {
  on_ranks(2, [&](Rank rank) {
    rank.set(1);
    std::string old_digest;
    {
      CheckpointSaver saver(options(rank), rank.group, rank.step);
      old_digest = saver.save_and_wait({.info = {.step = 1}});
      rank.set(2);
      saver.begin({.info = {.step = 2}});
      rank.boundary(saver);
    }
    rank.group.world.barrier("both savers are gone");
    if (rank.group.world.rank() == 0) {
      EXPECT_EQ(newest_digest(), old_digest);
    }
    rank.group.world.barrier("looked at");

    CheckpointSaver next(options(rank), rank.group, rank.step);
    const auto digest = next.save_and_wait({.info = {.step = 3}});
    if (rank.group.world.rank() == 0) {
      EXPECT_EQ(newest_digest(), digest);
      EXPECT_EQ(faulty_.list(kFolder).size(), 1u);
    }
  });
}

TEST_P(CheckpointSaverTest, WritesFrozenParametersOnceForAllItsCheckpoints) {
  constexpr char kFrozen[] = "/frozen.safetensors";
  const auto path_of = [](int step) {
    return std::string(kFolder) + "/step-0000000" + std::to_string(step);
  };
  on_ranks(2, [&](Rank rank) {
    const checkpoints::Retention all{.keep = 5};
    {
      CheckpointSaver saver(options(rank), rank.group, rank.step);
      for (const int step : {1, 2, 3}) {
        rank.set(static_cast<float>(step));
        saver.begin({.info = {.step = step}, .retention = all});
        saver.finish();
      }
      // A checkpoint that somebody took away is no place to have it from.
      if (rank.group.world.rank() == 0) faulty_.remove_all(path_of(3));
      saver.save_and_wait({.info = {.step = 4}, .retention = all});
    }
    CheckpointSaver next(options(rank), rank.group, rank.step);
    const auto digest = next.save_and_wait({.info = {.step = 5}, .retention = all});
    EXPECT_EQ(rank.keeper.digest(5), digest);

    if (rank.group.world.rank() != 0) return;
    EXPECT_TRUE(faulty_.are_one(path_of(1) + kFrozen, path_of(2) + kFrozen));
    EXPECT_FALSE(faulty_.are_one(path_of(1) + kFrozen, path_of(4) + kFrozen));
    EXPECT_FALSE(faulty_.are_one(path_of(4) + kFrozen, path_of(5) + kFrozen))
        << "an attempt trusts no bytes that it did not write";
    checkpoints::CheckpointStore store(files_, kFolder);
    for (const int step : {1, 2, 4, 5}) {
      EXPECT_NO_THROW(store.verify(store.open(path_of(step)))) << step;
    }
    EXPECT_EQ(store.open(path_of(5)).state_digest, digest);
  });
}

TEST_P(CheckpointSaverTest, TakesNoMemoryForCopiesWhereAllSavesAreWaitedFor) {
  on_ranks(1, [&](Rank rank) {
    auto in_place = options(rank);
    in_place.copies = CheckpointSaverOptions::Copies::kNone;
    CheckpointSaver saver(std::move(in_place), rank.group, rank.step);

    EXPECT_THROW(saver.begin({.info = {.step = 1}}), base::InternalError);
    EXPECT_EQ(saver.save_and_wait({.info = {.step = 1}}), rank.keeper.digest(1));
  });
}

class SnapshotTest : public testing::Test {
 protected:
  SnapshotTest() {
    for (std::size_t i = 0; i < one_.size(); ++i) one_[i] = static_cast<std::byte>(i * 7);
    for (std::size_t i = 0; i < other_.size(); ++i) other_[i] = static_cast<std::byte>(i * 3 + 1);
    const std::span all(one_);
    owned_ = {{.extent = 4, .memory = all.subspan(0, 100)},
              {.extent = 5, .memory = all.subspan(100, 150)},
              {.extent = 7, .memory = other_},
              {.extent = 9, .memory = all.subspan(260, 40)}};
  }

  std::vector<std::byte> one_ = std::vector<std::byte>(300);
  std::vector<std::byte> other_ = std::vector<std::byte>(50);
  std::vector<LocalExtent> owned_;
};

TEST_F(SnapshotTest, CopiesNeighboursAndOthersAlike) {
  Snapshot snapshot(owned_);
  snapshot.prepare();

  const auto copies = snapshot.begin(owned_);
  snapshot.complete();

  ASSERT_EQ(copies.size(), 4u);
  for (std::size_t i = 0; i < owned_.size(); ++i) {
    EXPECT_EQ(copies[i].extent, owned_[i].extent);
    EXPECT_TRUE(std::ranges::equal(copies[i].bytes, owned_[i].memory)) << i;
    EXPECT_NE(copies[i].bytes.data(), owned_[i].memory.data());
  }
}

TEST_F(SnapshotTest, HasWhatWasThereBeforeEachPieceWasChanged) {
  // Pieces that cut extents, overlap, and skip some bytes on the way.
  const std::vector<std::pair<std::size_t, std::size_t>> pieces{
      {0, 64}, {64, 64}, {64, 100}, {180, 70}, {260, 20}};
  const auto before = one_;
  Snapshot snapshot(owned_);
  const auto copies = snapshot.begin(owned_);

  for (const auto& [begin, length] : pieces) {
    const auto piece = std::span(one_).subspan(begin, length);
    snapshot.keep(piece);
    std::ranges::fill(piece, std::byte{255});
  }
  snapshot.keep(std::span(other_).first(10));
  std::ranges::fill(std::span(other_).first(10), std::byte{255});
  std::byte elsewhere[4]{};
  snapshot.keep(elsewhere);
  snapshot.complete();
  std::ranges::fill(one_, std::byte{0});

  EXPECT_TRUE(std::ranges::equal(copies[0].bytes, std::span(before).subspan(0, 100)));
  EXPECT_TRUE(std::ranges::equal(copies[1].bytes, std::span(before).subspan(100, 150)));
  EXPECT_EQ(copies[2].bytes[0], std::byte{1});
  EXPECT_EQ(copies[2].bytes[49], static_cast<std::byte>(49 * 3 + 1));
  EXPECT_TRUE(std::ranges::equal(copies[3].bytes, std::span(before).subspan(260, 40)));
}

TEST_F(SnapshotTest, BeginsAnew) {
  Snapshot snapshot(owned_);
  snapshot.begin(owned_);
  snapshot.complete();
  std::ranges::fill(one_, std::byte{9});

  const auto copies = snapshot.begin(owned_);
  snapshot.complete();

  EXPECT_TRUE(std::ranges::equal(copies[1].bytes, owned_[1].memory));
}

TEST_F(SnapshotTest, LaysEachCopyInItsPageAsItsFileDoes) {
  owned_[0].file_offset = 8192 + 64;
  owned_[1].file_offset = 8192 + 164;
  owned_[2].file_offset = 192;
  owned_[3].file_offset = 5000;
  Snapshot snapshot(owned_);

  // Later the header is longer.
  for (auto& own : owned_) own.file_offset += 64;
  const auto copies = snapshot.begin(owned_);
  snapshot.complete();

  for (std::size_t i = 0; i < owned_.size(); ++i) {
    const auto address = reinterpret_cast<std::uintptr_t>(copies[i].bytes.data());
    EXPECT_EQ(address % base::kDirectBytes, owned_[i].file_offset % base::kDirectBytes) << i;
    EXPECT_TRUE(std::ranges::equal(copies[i].bytes, owned_[i].memory)) << i;
  }
  EXPECT_EQ(copies[1].bytes.data(), copies[0].bytes.data() + 100);
}

TEST_F(SnapshotTest, RefusesMoreThanThereIsRoomFor) {
  const auto first = std::span<const LocalExtent>(owned_).first(1);
  Snapshot small(first);
  std::vector<std::byte> large(3 * base::kDirectBytes);
  const std::vector<LocalExtent> more{{.extent = 1, .memory = large}};

  EXPECT_THROW(small.begin(more), base::InternalError);
  EXPECT_THAT(Snapshot({}).begin({}), IsEmpty());
}

}  // namespace
}  // namespace lockstep::trainer
