#include "checkpoints/run_directory.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <set>
#include <thread>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "checkpoints/run_names.hpp"
#include "tests/checkpoints/raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::checkpoints {
namespace {

using base::CheckpointError;
using base::ConfigError;
using testing::HasSubstr;
using testing::MatchesRegex;
using tests::text_of;

RunRecord full_record() {
  RunRecord record;
  record.id = std::string(32, 'a');
  record.name = "amber-heron";
  record.parent = "runs/old";
  record.command = {"lockstep", "train", "exp.yaml", "train.lr=1e-3"};
  record.commit = std::string(40, 'c');
  record.dirty = true;
  record.build_id = "b1";
  record.config_hash = std::string(64, 'h');
  record.data["train"] = {.path = "t.h5", .fingerprint = "f0", .samples = 60000};
  record.seed = 7;
  record.hosts = {"n1", "n2"};
  record.versions = {{"torch", "2.11.0"}};
  record.world_sizes = {{.step = 0, .world_size = 8}, {.step = 40, .world_size = 3}};
  record.status = "done";
  record.exit_code = 0;
  record.started = "2026-01-31T12:00:00.000Z";
  record.ended = "2026-01-31T13:00:00.000Z";
  record.step = 412;
  record.epoch = 2.5;
  record.state_digest = std::string(64, 'd');
  record.metrics = {{"accuracy", 0.91}};
  record.restarts = 2;
  record.step_anatomy = {.steps = 7,
                         .phases = {{.name = "data", .min = 0.1, .median = 0.2, .max = 0.5}},
                         .straggler = 3,
                         .straggler_host = "node1",
                         .straggler_excess = 0.25};
  return record;
}

class RunDirectoryTest : public testing::Test {
 protected:
  RunDirectory make(const std::string& name) {
    auto run = RunDirectory::create(files_, base_, name);
    RunRecord record;
    record.name = run.name();
    run.write_record(record);
    return run;
  }

  base::FileSystem& files_ = base::FileSystem::posix();
  tests::TemporaryDirectory folder_;
  std::string base_ = folder_.file("runs");
};

TEST_F(RunDirectoryTest, MakesTheFoldersOfARunAndTheLinkToIt) {
  const auto run = make("first");

  EXPECT_EQ(run.path(), base_ + "/first");
  for (const char* name : {"logs", "checkpoints", "health", "tensorboard"}) {
    EXPECT_TRUE(files_.is_directory(run.path() + "/" + name)) << name;
  }
  EXPECT_EQ(run.log_path(7), base_ + "/first/logs/rank_00007.jsonl");
  EXPECT_EQ(RunDirectory::open(files_, base_, "latest").name(), "first");
  make("second");
  EXPECT_EQ(RunDirectory::open(files_, base_, "latest").name(), "second");
}

TEST_F(RunDirectoryTest, GivesARunWithoutANameTwoWords) {
  EXPECT_THAT(make("").name(), MatchesRegex("[a-z]+-[a-z]+"));
}

TEST_F(RunDirectoryTest, NeverUsesANameTwice) {
  std::set<std::string> names;
  for (int i = 0; i < 50; ++i) names.insert(make("").name());
  EXPECT_EQ(names.size(), 50u);
}

TEST_F(RunDirectoryTest, RefusesANameThatIsTaken) {
  make("exp");

  EXPECT_EQ(text_of<ConfigError>([&] { RunDirectory::create(files_, base_, "exp"); }),
            "run 'exp' exists in '" + base_ +
                "' (a run is never overwritten); go on with 'lockstep resume exp', or choose "
                "another --name");
}

TEST_F(RunDirectoryTest, SaysThatAFolderOfThatNameIsNoRun) {
  files_.make_directories(base_ + "/exp");

  EXPECT_THAT(text_of<ConfigError>([&] { RunDirectory::create(files_, base_, "exp"); }),
              HasSubstr("exists and is no run (it has no run.json"));
}

TEST_F(RunDirectoryTest, RefusesNamesThatAreNoFolders) {
  for (const std::string name : {"a/b", "..", ".hidden", "-x", "latest", "a\nb"}) {
    EXPECT_THROW(RunDirectory::create(files_, base_, name), ConfigError) << name;
  }
  EXPECT_THROW(RunDirectory::create(files_, base_, std::string(201, 'a')), ConfigError);
}

TEST_F(RunDirectoryTest, OpensARunByNameByPathAndByLatest) {
  const auto path = make("exp").path();

  EXPECT_EQ(RunDirectory::open(files_, base_, "exp").path(), path);
  EXPECT_EQ(RunDirectory::open(files_, "elsewhere", path).path(), path);
  EXPECT_EQ(RunDirectory::open(files_, base_, path + "/").name(), "exp");
  EXPECT_EQ(RunDirectory::open(files_, base_, "latest").path(), path);
}

TEST_F(RunDirectoryTest, NamesTheNearestRunWhenThereIsNone) {
  make("amber-heron");

  EXPECT_EQ(text_of<CheckpointError>([&] { RunDirectory::open(files_, base_, "amber-heorn"); }),
            "run 'amber-heorn' does not exist (neither a folder nor a name in '" + base_ +
                "'); did you mean 'amber-heron'?");
  EXPECT_THAT(text_of<CheckpointError>([&] { RunDirectory::open(files_, base_, "zzz"); }),
              HasSubstr("list the runs with 'lockstep runs'"));
}

TEST_F(RunDirectoryTest, ReadsBackTheRecordThatItWrote) {
  const auto run = make("exp");
  const auto record = full_record();

  run.write_record(record);

  const auto read = run.read_record();
  EXPECT_EQ(to_json(read), to_json(record));
  EXPECT_EQ(read.command, record.command);
  EXPECT_EQ(read.data.at("train").samples, 60000);
  EXPECT_EQ(read.world_sizes.at(1).world_size, 3);
  EXPECT_EQ(read.metrics.at("accuracy"), 0.91);
}

TEST(RunRecordTest, SaysNullForAnExitCodeThatIsNotKnownYet) {
  RunRecord record;

  EXPECT_THAT(to_json(record), HasSubstr("\"exit_code\": null"));
  EXPECT_EQ(parse_run_record(to_json(record), "run.json").exit_code, -1);
}

TEST(RunRecordTest, StaysReadableWithAMetricThatIsNoNumber) {
  // A diverged evaluation wrote NaN as null, and the run could not be opened any more.
  RunRecord record;
  record.metrics["loss"] = std::numeric_limits<double>::quiet_NaN();

  EXPECT_TRUE(std::isnan(parse_run_record(to_json(record), "run.json").metrics.at("loss")));
}

TEST(RunRecordTest, SaysWhichFileDoesNotParse) {
  EXPECT_THAT(text_of<CheckpointError>([] { parse_run_record("{\"id\": 3", "runs/a/run.json"); }),
              HasSubstr("run record 'runs/a/run.json' does not parse ("));
  EXPECT_THROW(parse_run_record("[]", "run.json"), CheckpointError);
  EXPECT_THROW(parse_run_record("{}", "run.json"), CheckpointError);
}

TEST(RunRecordTest, RefusesARecordOfANewerLockstep) {
  auto text = to_json(RunRecord{});
  text.replace(text.find("\"version\": 1"), 12, "\"version\": 2");

  EXPECT_EQ(text_of<CheckpointError>([&] { parse_run_record(text, "run.json"); }),
            "run record 'run.json' was written by a newer Lockstep (this one reads up to version "
            "1); use that version");
}

TEST_F(RunDirectoryTest, LetsOneProcessAtATimeWriteARun) {
  const auto run = make("exp");
  {
    const RunLock lock(run);
    EXPECT_EQ(holder_of(run), this_holder());
    EXPECT_EQ(text_of<base::EnvironmentError>([&] { RunLock second(run); }),
              "run 'exp' is being written by process " + std::to_string(::getpid()) + " on host " +
                  base::host_name() + " (two trainers would destroy it); wait for it or stop it");
  }
  EXPECT_EQ(holder_of(run), "");
  EXPECT_NO_THROW(RunLock again(run));
}

TEST_F(RunDirectoryTest, FreesTheLockOfAProcessThatDied) {
  const auto run = make("exp");
  const auto child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto* lock = new RunLock(run);
    ::_exit(lock == nullptr ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);

  EXPECT_NO_THROW(RunLock lock(run));
}

/// A resume right after a kill said that the run is being written: the kernel gives the memory of a
/// process back before its locks.
TEST_F(RunDirectoryTest, WaitsForTheLockOfAProcessThatIsEnding) {
  const auto run = make("exp");
  const auto child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(0);
  siginfo_t ended{};  // which it is from now on, and there all the same
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  const int lock = ::open((run.path() + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  ASSERT_EQ(::flock(lock, LOCK_EX), 0);
  const auto holder = "process " + std::to_string(child) + " on host " + base::host_name();
  ASSERT_EQ(::write(lock, holder.data(), holder.size()), static_cast<ssize_t>(holder.size()));

  std::atomic<bool> released{false};
  std::thread kernel([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    released = true;
    ::close(lock);
  });
  EXPECT_NO_THROW(require_free(run));
  EXPECT_TRUE(released);
  EXPECT_NO_THROW(RunLock again(run));
  kernel.join();
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
}

TEST(RunNames, AreAllDifferent) {
  std::set<std::string> names;
  for (std::uint64_t i = 0; i < run_name_count(); ++i) names.insert(run_name(i));

  EXPECT_EQ(names.size(), run_name_count());
  EXPECT_EQ(run_name(run_name_count()), run_name(0));
  EXPECT_TRUE(names.contains("amber-heron"));
}

TEST(FreshId, Is32HexadecimalDigitsAndNewEachTime) {
  EXPECT_THAT(fresh_id(), MatchesRegex("[0-9a-f]+"));
  EXPECT_EQ(fresh_id().size(), 32u);
  EXPECT_NE(fresh_id(), fresh_id());
}

}  // namespace
}  // namespace lockstep::checkpoints
