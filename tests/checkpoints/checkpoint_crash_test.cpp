// What a save leaves when it does not come to its end: whatever happens, the newest good checkpoint
// is the old one or the new one, whole, and the next save works.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <functional>

#include "base/error.hpp"
#include "checkpoints/checkpoint_store.hpp"
#include "tests/checkpoints/saved_state.hpp"
#include "tests/support/fault_file_system.hpp"

namespace lockstep::checkpoints {
namespace {

using testing::Each;
using testing::StartsWith;
using tests::expect_whole;
using tests::FaultFileSystem;
using tests::save;
using tests::SavedState;
using tests::Unsynced;

constexpr char kFolder[] = "/runs/a/checkpoints";
constexpr int kMoreChangesThanASaveMakes = 500;

struct Scenario {
  const char* name;
  std::int64_t before;  ///< saved and durable at the start
  std::int64_t after;   ///< saved when the fault strikes
};

constexpr Scenario kScenarios[] = {{"a newer step", 1, 2}, {"the same step again", 2, 2}};

/// Files of a run with one durable checkpoint.
void prepare(FaultFileSystem& files, const Scenario& scenario) {
  files.put("/runs/a/run.json", "{}");
  CheckpointStore store(files, kFolder);
  save(store, SavedState(scenario.before));
}

/// Saves on two ranks and removes what is old.
void run(FaultFileSystem& files, const Scenario& scenario) {
  CheckpointStore store(files, kFolder);
  save(store, SavedState(scenario.after), 2);
  store.retain({.keep = 1});
}

void expect_old_or_new(FaultFileSystem& files, const Scenario& scenario, const std::string& when) {
  CheckpointStore store(files, kFolder);
  std::vector<std::string> problems;
  const auto found = store.newest_good(&problems);
  ASSERT_TRUE(found) << when << testing::PrintToString(problems);
  const auto step = expect_whole(store, *found);
  EXPECT_TRUE(step == scenario.before || step == scenario.after) << when << ", step " << step;
  EXPECT_TRUE(problems.empty()) << when << testing::PrintToString(problems);
}

void expect_next_save_works(FaultFileSystem& files, const std::string& when) {
  CheckpointStore store(files, kFolder);
  save(store, SavedState(3));
  store.retain({.keep = 1});
  const auto found = store.newest_good();
  ASSERT_TRUE(found) << when;
  EXPECT_EQ(expect_whole(store, *found), 3) << when;
  EXPECT_THAT(files.list(kFolder), testing::ElementsAre("step-00000003")) << when;
}

TEST(CheckpointCrash, LeavesTheOldOrTheNewOneWhereverThePowerIsCut) {
  for (const auto& scenario : kScenarios) {
    for (const auto unsynced : {Unsynced::kLost, Unsynced::kKept, Unsynced::kPartial}) {
      for (std::uint64_t seed = 0; seed < (unsynced == Unsynced::kPartial ? 8u : 1u); ++seed) {
        bool cut = true;
        int n = 1;
        for (; cut; ++n) {
          ASSERT_LT(n, kMoreChangesThanASaveMakes);
          const auto when = std::string(scenario.name) + ", power cut at change " +
                            std::to_string(n) + ", seed " + std::to_string(seed) + " ";
          FaultFileSystem files;
          prepare(files, scenario);
          files.cut_power_at(files.changes() + n);
          cut = false;
          try {
            run(files, scenario);
          } catch (const tests::PowerCut&) {
            cut = true;
          }
          files.restart(unsynced, seed * 1000 + static_cast<std::uint64_t>(n));
          expect_old_or_new(files, scenario, when);
          expect_next_save_works(files, when);
        }
        EXPECT_GT(n, 20) << "so few changes cannot be a save";
      }
    }
  }
}

TEST(CheckpointCrash, LosesNoCheckpointOnceCommitHasReturned) {
  FaultFileSystem files;
  files.put("/runs/a/run.json", "{}");
  CheckpointStore store(files, kFolder);
  const auto path = save(store, SavedState(1));

  files.restart(Unsynced::kLost);

  EXPECT_EQ(CheckpointStore(files, kFolder).newest_good(), path);
}

TEST(CheckpointCrash, LeavesTheOldOrTheNewOneWhicheverCallFails) {
  for (const auto& scenario : kScenarios) {
    bool failed = true;
    for (int n = 1; failed; ++n) {
      ASSERT_LT(n, kMoreChangesThanASaveMakes);
      const auto when = std::string(scenario.name) + ", change " + std::to_string(n) + " failing ";
      FaultFileSystem files;
      prepare(files, scenario);
      const auto before = files.changes();
      files.fail_at(before + n, EIO);
      try {
        run(files, scenario);
      } catch (const base::IoError& error) {
        EXPECT_EQ(error.error_number(), EIO) << when;
      }
      failed = files.changes() >= before + n;
      files.restart(Unsynced::kKept);
      expect_old_or_new(files, scenario, when);
      expect_next_save_works(files, when);
    }
  }
}

TEST(CheckpointCrash, KeepsTheOldOneWhenTheDiskIsFull) {
  for (const auto& scenario : kScenarios) {
    bool full = true;
    for (std::uint64_t room = 0; full; room += 37) {
      ASSERT_LT(room, 100'000u);
      const auto when = std::string(scenario.name) + ", room " + std::to_string(room) + " ";
      FaultFileSystem files;
      prepare(files, scenario);
      files.fill_after(room);
      full = false;
      try {
        run(files, scenario);
      } catch (const base::IoError& error) {
        EXPECT_EQ(error.error_number(), ENOSPC) << when;
        full = true;
      }
      expect_old_or_new(files, scenario, when);
      if (full) {
        EXPECT_THAT(files.list(kFolder), Each(StartsWith("step-"))) << when << "left something";
      }
      files.make_room();
      expect_next_save_works(files, when);
    }
  }
}

}  // namespace
}  // namespace lockstep::checkpoints
