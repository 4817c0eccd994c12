#include "checkpoints/registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "checkpoints/json_lines.hpp"
#include "checkpoints/ledger.hpp"
#include "tests/checkpoints/saved_state.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::checkpoints {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using tests::SavedState;

class Registry : public testing::Test {
 protected:
  /// A run that ended at step `steps` with a checkpoint there.
  RunDirectory make(const std::string& name, int steps) {
    auto run = RunDirectory::create(files_, base_, name);
    {
      LedgerWriter ledger(files_, run.ledger_path(), 0);
      for (int step = 1; step <= steps; ++step) {
        ledger.append({.step = step,
                       .samples = "5a",
                       .state_digest = step == steps ? SavedState(steps).digest() : ""});
      }
    }
    CheckpointStore store(files_, run.checkpoints_path());
    tests::save(store, SavedState(steps));
    RunRecord record;
    record.name = name;
    record.status = "done";
    record.exit_code = 0;
    record.started = "2026-01-31T12:00:0" + std::to_string(steps) + ".000Z";
    record.step = steps;
    record.state_digest = SavedState(steps).digest();
    record.world_sizes = {{.step = 0, .world_size = 4}, {.step = 1, .world_size = 2}};
    run.write_record(record);
    return run;
  }
  void damage(const std::string& path, const std::string& from, const std::string& to) {
    auto text = files_.read_text(path);
    const auto at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    files_.write_atomically(path, text.replace(at, from.size(), to));
  }

  base::FileSystem& files_ = base::FileSystem::posix();
  tests::TemporaryDirectory folder_;
  std::string base_ = folder_.file("runs");
};

TEST_F(Registry, ListsRunsInTheOrderOfTheirStartAndWarnsOfBrokenOnes) {
  make("b", 2);
  make("a", 3);
  make("c", 1);
  const auto broken = make("d", 4);
  files_.write_atomically(broken.record_path(), "{");
  files_.make_directories(base_ + "/no-run");

  const auto list = list_runs(files_, base_);

  std::vector<std::string> names;
  for (const auto& run : list.runs) names.push_back(run.name);
  EXPECT_THAT(names, ElementsAre("c", "b", "a"));
  ASSERT_EQ(list.warnings.size(), 1u);
  EXPECT_THAT(list.warnings[0], HasSubstr("run record '" + broken.record_path() + "'"));
}

TEST_F(Registry, ListsNothingWhereNoRunWasEverMade) {
  EXPECT_TRUE(list_runs(files_, base_).runs.empty());
}

TEST_F(Registry, ShowsEverythingThatTheInterfacePromises) {
  const auto run = make("exp", 2);

  const auto json = show_json(files_, run);

  for (const char* key :
       {"name", "status", "exit_code", "step", "epoch", "world_size", "restarts", "state_digest",
        "metrics", "checkpoints", "config_hash", "data", "commit"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  EXPECT_EQ(json["world_size"], 2);
  ASSERT_EQ(json["checkpoints"].size(), 1u);
  const auto& checkpoint = json["checkpoints"][0];
  EXPECT_EQ(checkpoint["step"], 2);
  EXPECT_EQ(checkpoint["bytes"], 2072);
  EXPECT_EQ(checkpoint["path"], run.checkpoints_path() + "/step-00000002");
  EXPECT_EQ(checkpoint["state_digest"], SavedState(2).digest());
  EXPECT_EQ(checkpoint["valid"], true);
  EXPECT_FALSE(checkpoint.contains("problem"));
}

TEST_F(Registry, SaysThatARunWhoseProcessesWereAllKilledFailed) {
  const auto run = make("exp", 2);
  auto record = run.read_record();
  record.status = "running";
  record.exit_code = -1;
  run.write_record(record);
  files_.write_atomically(run.config_path(), "");

  EXPECT_EQ(record_of(run).status, "failed");
  EXPECT_EQ(list_runs(files_, base_).runs.at(0).status, "failed");
  {
    const RunLock writes(run);
    EXPECT_EQ(record_of(run).status, "running");
  }
  {
    const RunMinder between_two_launches(run), another_one(run);
    EXPECT_EQ(record_of(run).status, "running");
  }
  EXPECT_EQ(show_json(files_, run)["status"], "failed");

  record.started = base::format_utc(base::Clock::system().wall());
  run.write_record(record);
  EXPECT_EQ(record_of(run).status, "running") << "it may not have come to write yet";
}

TEST_F(Registry, ShowsACheckpointThatIsNotValidAndWhy) {
  const auto run = make("exp", 2);
  files_.remove_all(run.checkpoints_path() + "/step-00000002/model.safetensors");

  const auto json = show_json(files_, run);

  EXPECT_EQ(json["checkpoints"][0]["valid"], false);
  EXPECT_THAT(json["checkpoints"][0]["problem"].get<std::string>(), HasSubstr("is missing"));
}

TEST_F(Registry, VerifiesARunInWhichEverythingAgrees) {
  const auto result = verify_run(files_, make("exp", 2));

  EXPECT_TRUE(result.good);
  EXPECT_THAT(result.lines, ElementsAre("ledger: 2 steps, chain whole, none repeated or missing",
                                        "checkpoint step-00000002: 4 extents right, state digest " +
                                            SavedState(2).digest().substr(0, 12),
                                        "record: agrees with the ledger's last line"));
}

TEST_F(Registry, VerifiesEveryCheckpointAndCountsDroppedUpdates) {
  const auto run = make("exp", 2);
  {
    LedgerWriter ledger(files_, run.ledger_path(), 2);
    ledger.append({.step = 3, .samples = "5a", .skipped = "loss is not finite"});
    ledger.append({.step = 4, .samples = "5a", .state_digest = SavedState(4).digest()});
  }
  CheckpointStore store(files_, run.checkpoints_path());
  tests::save(store, SavedState(4));
  auto record = run.read_record();
  record.step = 4;
  record.state_digest = SavedState(4).digest();
  run.write_record(record);

  auto result = verify_run(files_, run);
  EXPECT_TRUE(result.good);
  EXPECT_THAT(result.lines,
              ElementsAre("ledger: 4 steps, chain whole, none repeated or missing, updates of 1 "
                          "dropped",
                          HasSubstr("step-00000002: 4 extents right"),
                          HasSubstr("step-00000004: 4 extents right"), HasSubstr("record")));

  files_.remove_all(run.checkpoints_path() + "/step-00000002/model.safetensors");
  result = verify_run(files_, run);
  EXPECT_FALSE(result.good);
  EXPECT_THAT(result.lines[1], HasSubstr("checkpoint: BROKEN"));
  EXPECT_THAT(result.lines[2], HasSubstr("step-00000004: 4 extents right"));
}

TEST_F(Registry, FindsAChangedLedgerLine) {
  const auto run = make("exp", 3);
  damage(run.ledger_path(), "\"samples\":\"5a\"", "\"samples\":\"5b\"");

  const auto result = verify_run(files_, run);

  EXPECT_FALSE(result.good);
  EXPECT_THAT(result.lines[0], HasSubstr("ledger: BROKEN after step 1: line 2 does not follow"));
}

TEST_F(Registry, FindsAFlippedByteOfTheNewestCheckpoint) {
  const auto run = make("exp", 2);
  const auto path = run.checkpoints_path() + "/step-00000002/optimizer.safetensors";
  auto text = files_.read_text(path);
  text.back() = static_cast<char>(text.back() ^ 1);
  files_.write_atomically(path, text);

  const auto result = verify_run(files_, run);

  EXPECT_FALSE(result.good);
  EXPECT_THAT(result.lines[1], HasSubstr("'m.layer.weight'"));
}

TEST_F(Registry, FindsACheckpointThatIsNotTheOneOfTheLedger) {
  // Consistent in itself, but of another run.
  const auto run = make("exp", 2);
  files_.remove_all(run.ledger_path());
  {
    LedgerWriter ledger(files_, run.ledger_path(), 0);
    ledger.append({.step = 1, .samples = "5a"});
    ledger.append({.step = 2, .samples = "5a", .state_digest = std::string(64, 'e')});
  }

  const auto result = verify_run(files_, run);

  EXPECT_FALSE(result.good);
  EXPECT_THAT(result.lines, testing::Contains(HasSubstr("the ledger has another state digest")));
  EXPECT_THAT(result.lines, testing::Contains(HasSubstr("run.json and the ledger's last line "
                                                        "differ")));
}

TEST_F(Registry, FindsACheckpointBeyondTheLedger) {
  const auto run = make("exp", 2);
  CheckpointStore store(files_, run.checkpoints_path());
  tests::save(store, SavedState(5));

  const auto result = verify_run(files_, run);

  EXPECT_FALSE(result.good);
  EXPECT_THAT(result.lines,
              testing::Contains("checkpoint step-00000005: BROKEN: the ledger ends at step 2"));
}

TEST_F(Registry, SaysThatALedgerIsMissing) {
  const auto run = make("exp", 2);
  files_.remove_all(run.ledger_path());

  const auto result = verify_run(files_, run);

  EXPECT_FALSE(result.good);
  EXPECT_THAT(result.lines[0], HasSubstr("ledger: BROKEN: ledger '"));
}

}  // namespace
}  // namespace lockstep::checkpoints
