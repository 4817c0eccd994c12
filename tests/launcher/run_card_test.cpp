#include "launcher/run_card.hpp"

#include <gtest/gtest.h>

namespace lockstep::launcher {
namespace {

using namespace std::chrono_literals;

checkpoints::RunRecord done_record() {
  checkpoints::RunRecord record;
  record.name = "amber-heron";
  record.status = "done";
  record.exit_code = 0;
  record.step = 702;
  record.epoch = 3;
  record.state_digest = "0123456789abcdef0123456789abcdef";
  record.metrics = {{"test/accuracy", 0.91234}, {"test/loss", 0.25}};
  record.world_sizes = {{.step = 0, .world_size = 2}};
  return record;
}

TEST(EndCard, TellsMetricsTimeFilesAndThreeNextCommands) {
  EXPECT_EQ(end_card({}, done_record(), "/data/amber-heron", 72s),
            "┌─ amber-heron: done ─────────────────────────────────────────────────┐\n"
            "│ metrics  test/accuracy 0.9123  test/loss 0.25                       │\n"
            "│ time     1m12s on 2 ranks                                           │\n"
            "│ reached  step 702, epoch 3                                          │\n"
            "│ state    0123456789abcdef                                           │\n"
            "│ files    /data/amber-heron                                          │\n"
            "│ next     lockstep show /data/amber-heron                            │\n"
            "│          lockstep evaluate /data/amber-heron                        │\n"
            "│          lockstep predict /data/amber-heron --output predictions.h5 │\n"
            "└─────────────────────────────────────────────────────────────────────┘\n");
}

TEST(EndCard, TellsRestartsAndChangedRanks) {
  auto record = done_record();
  record.restarts = 1;
  record.world_sizes = {{.step = 0, .world_size = 4}, {.step = 9, .world_size = 3}};

  const auto card = end_card({}, record, "/data/amber-heron", 72s);

  EXPECT_NE(card.find("1 restart "), std::string::npos);
  EXPECT_NE(card.find("on 4, then 3 ranks"), std::string::npos);
}

TEST(EndCard, SplitsAStepAndNamesTheStraggler) {
  auto record = done_record();
  record.step_anatomy = {.steps = 9,
                         .phases = {{.name = "forward", .min = 0.01, .median = 0.03, .max = 0.05},
                                    {.name = "exchange", .min = 0, .median = 0.01, .max = 0.02}},
                         .straggler = 2,
                         .straggler_host = "n7",
                         .straggler_excess = 0.333};

  const auto card = end_card({}, record, "/d/r", 1s);

  EXPECT_NE(card.find("a step     40 ms: forward 75%, exchange 25%"), std::string::npos) << card;
  EXPECT_NE(card.find("straggler  rank 2 on host n7: 33% more work time than the others"),
            std::string::npos)
      << card;
}

TEST(EndCard, SaysHowAStoppedRunGoesOn) {
  auto record = done_record();
  record.status = "stopped";
  record.exit_code = 75;
  EXPECT_NE(end_card({}, record, "/d/r", 1s).find("stopped on request, state saved"),
            std::string::npos);
  EXPECT_NE(end_card({}, record, "/d/r", 1s).find("next     lockstep resume /d/r"),
            std::string::npos);

  record.exit_code = 130;
  EXPECT_NE(end_card({}, record, "/d/r", 1s).find("go on from the last checkpoint"),
            std::string::npos);
}

TEST(FailureTable, PutsTheRootCauseFirst) {
  FailureReport report;
  report.verdict.cause = "killed";
  report.verdict.message = "rank 1 killed by signal 9 (Killed)";
  report.verdict.advice = "see dmesg, then resume";
  report.verdict.rank = 1;
  report.verdict.host = "vm";
  report.verdict.phase = "backward";
  report.verdict.step = 412;
  report.exit_code = 1;
  report.run_path = "/d/amber-heron";
  report.log_path = "/d/amber-heron/logs/rank_00001.jsonl";

  EXPECT_EQ(failure_table({}, report),
            "┌─ run failed ─────────────────────────────────────────┐\n"
            "│ cause      rank 1 killed by signal 9 (Killed)        │\n"
            "│ where      rank 1, host vm, phase backward, step 412 │\n"
            "│ class      killed                                    │\n"
            "│ exit code  1 (failed, cause not classified)          │\n"
            "│ log        /d/amber-heron/logs/rank_00001.jsonl      │\n"
            "│ try        see dmesg, then resume                    │\n"
            "│            lockstep resume /d/amber-heron            │\n"
            "└──────────────────────────────────────────────────────┘\n");
}

TEST(FailureTable, LeavesOutWhatIsNotKnown) {
  FailureReport report;
  report.verdict.cause = "exit";
  report.exit_code = 4;

  const auto table = failure_table({}, report);

  EXPECT_EQ(table.find("where"), std::string::npos);
  EXPECT_EQ(table.find("log"), std::string::npos);
  EXPECT_NE(table.find("4 (the environment lacks something)"), std::string::npos);
}

TEST(FormatMetric, ShowsFourSignificantDigits) {
  EXPECT_EQ(format_metric(0.912345), "0.9123");
  EXPECT_EQ(format_metric(0.0000123456), "1.235e-05");
}

}  // namespace
}  // namespace lockstep::launcher
