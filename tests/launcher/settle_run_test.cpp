#include "launcher/settle_run.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checkpoints/json_lines.hpp"
#include "tests/support/fixed_clock.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::launcher {
namespace {

class SettleRun : public testing::Test {
 protected:
  SettleRun() {
    run_.emplace(checkpoints::RunDirectory::create(files_, base_.path(), "r"));
    checkpoints::RunRecord record;
    record.name = "r";
    run_->write_record(record);
  }
  std::vector<nlohmann::json> events() {
    return checkpoints::read_json_lines(files_, run_->events_path());
  }

  base::FileSystem& files_ = base::FileSystem::posix();
  tests::TemporaryDirectory base_;
  std::optional<checkpoints::RunDirectory> run_;
  tests::FixedClock clock_;
};

LaunchEnd killed_end() {
  LaunchEnd end;
  end.exit_code = 1;
  end.verdict.emplace();
  end.verdict->cause = "killed";
  end.verdict->message = "rank 1 killed by signal 9 (Killed)";
  end.verdict->rank = 1;
  end.source = VerdictSource::kProcesses;
  return end;
}

TEST_F(SettleRun, NotesTheEndThatNoRankCouldWrite) {
  const auto record = settle_run(files_, *run_, killed_end(), clock_);

  EXPECT_EQ(record.status, "failed");
  EXPECT_EQ(record.exit_code, 1);
  EXPECT_EQ(record.ended, "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(run_->read_record().status, "failed");
  ASSERT_EQ(events().size(), 1u);
  EXPECT_EQ(events()[0]["event"], "failure");
  EXPECT_EQ(events()[0]["cause"], "killed");
  EXPECT_EQ(events()[0]["rank"], 1);
  EXPECT_TRUE(events()[0]["step"].is_null());
}

TEST_F(SettleRun, LeavesOneVerdictWhenTheRanksWroteIt) {
  auto end = killed_end();
  end.source = VerdictSource::kRanks;

  settle_run(files_, *run_, end, clock_);

  EXPECT_TRUE(events().empty());
}

TEST_F(SettleRun, NamesTheCauseBehindTheFailureThatTheRanksWrote) {
  auto end = killed_end();
  end.source = VerdictSource::kBoth;

  settle_run(files_, *run_, end, clock_);

  ASSERT_EQ(events().size(), 1u);
  EXPECT_EQ(events()[0]["event"], "root_cause");
  EXPECT_EQ(events()[0]["rank"], 1);
}

TEST_F(SettleRun, LeavesARecordThatTheRanksHaveClosedAlone) {
  auto record = run_->read_record();
  record.status = "done";
  record.exit_code = 0;
  record.ended = "2026-01-31T12:00:00.000Z";
  run_->write_record(record);

  EXPECT_EQ(settle_run(files_, *run_, LaunchEnd{}, clock_).ended, "2026-01-31T12:00:00.000Z");
}

TEST_F(SettleRun, CountsTheSupervisorsCodeWhenItDiffers) {
  auto record = run_->read_record();
  record.status = "done";
  record.exit_code = 0;
  run_->write_record(record);

  const auto settled = settle_run(files_, *run_, killed_end(), clock_);

  EXPECT_EQ(settled.status, "failed");
  EXPECT_EQ(settled.exit_code, 1);
}

TEST(StatusOf, FollowsTheExitCode) {
  EXPECT_STREQ(status_of(0), "done");
  EXPECT_STREQ(status_of(5), "diverged");
  EXPECT_STREQ(status_of(75), "stopped");
  EXPECT_STREQ(status_of(130), "stopped");
  EXPECT_STREQ(status_of(3), "failed");
}

}  // namespace
}  // namespace lockstep::launcher
