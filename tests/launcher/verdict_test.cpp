#include "launcher/verdict.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

namespace lockstep::launcher {
namespace {

const std::string kRuler(74, '-');

/// What Open MPI 4.1 writes when rank 1 is killed.
const std::string kKilledNotice =
    kRuler + "\nPrimary job  terminated normally, but 1 process returned\n" +
    "a non-zero exit code. Per user-direction, the job has been aborted.\n" + kRuler + "\n" +
    kRuler + "\nmpirun noticed that process rank 1 with PID 4711 on node vm exited on signal 9 " +
    "(Killed).\n" + kRuler + "\n";

const std::string kExitedNotice =
    kRuler + "\nmpirun detected that one or more processes exited with non-zero status, thus " +
    "causing\nthe job to be terminated. The first process to do so was:\n\n" +
    "  Process name: [[40410,1],3]\n  Exit code:    6\n" + kRuler + "\n";

class EventsFile : public testing::Test {
 protected:
  EventsFile()
      : path_(std::filesystem::temp_directory_path() /
              ("lockstep-events-" + std::to_string(getpid()))) {}
  ~EventsFile() override { std::filesystem::remove(path_); }
  EventsSince read(const std::string& text, std::uint64_t offset = 0) {
    std::ofstream(path_, std::ios::binary) << text;
    return read_events(base::FileSystem::posix(), path_, offset);
  }
  std::string path_;
};

TEST_F(EventsFile, HoldsTheFirstFailureAsTheRootCause) {
  const auto events = read(
      "{\"event\":\"start\"}\n"
      "{\"event\":\"failure\",\"cause\":\"data\",\"rank\":1,\"host\":\"vm\",\"phase\":\"data\","
      "\"step\":412,\"message\":\"file gone\",\"advice\":\"bring it back\",\"exit_code\":3}\n"
      "{\"event\":\"failure\",\"cause\":\"comm\",\"rank\":0,\"exit_code\":1}\n"
      "{\"event\":\"end\",\"exit_code\":3}\n");

  ASSERT_TRUE(events.verdict);
  EXPECT_EQ(events.verdict->cause, "data");
  EXPECT_EQ(events.verdict->rank, 1);
  EXPECT_EQ(events.verdict->host, "vm");
  EXPECT_EQ(events.verdict->phase, "data");
  EXPECT_EQ(events.verdict->step, 412);
  EXPECT_EQ(events.verdict->message, "file gone");
  EXPECT_EQ(events.verdict->advice, "bring it back");
  EXPECT_EQ(events.exit_code, 3);
}

TEST_F(EventsFile, IsReadFromWhereThisLaunchBegan) {
  const std::string before = "{\"event\":\"failure\",\"cause\":\"old\"}\n";

  EXPECT_FALSE(read(before, before.size()).verdict);
  EXPECT_EQ(
      read(before + "{\"event\":\"failure\",\"cause\":\"new\"}\n", before.size()).verdict->cause,
      "new");
}

TEST_F(EventsFile, MayEndInATornLine) {
  const auto events = read("{\"event\":\"end\",\"exit_code\":75}\n{\"event\":\"fail");

  EXPECT_FALSE(events.verdict);
  EXPECT_EQ(events.exit_code, 75);
}

TEST_F(EventsFile, MayBeAbsent) {
  EXPECT_FALSE(read_events(base::FileSystem::posix(), path_ + "-none", 0).verdict);
}

RC_GTEST_FIXTURE_PROP(EventsFile, NeverEndsTheReaderWhateverItHolds, ()) {
  std::string text =
      "{\"event\":\"failure\",\"cause\":\"data\",\"rank\":1,\"step\":412,\"exit_code\":3}\n"
      "{\"event\":\"end\",\"exit_code\":3}\n";
  const auto changes = *rc::gen::inRange(0, 6);
  for (int i = 0; i < changes; ++i) {
    text[*rc::gen::inRange<std::size_t>(0, text.size())] = *rc::gen::arbitrary<char>();
  }
  const auto events = read(text, *rc::gen::inRange<std::uint64_t>(0, 200));
  if (events.exit_code) RC_ASSERT(*events.exit_code >= 0 && *events.exit_code <= 255);
  if (events.verdict) RC_ASSERT(events.verdict->rank >= -1);
}

TEST(MessageFilter, PassesOrdinaryLinesOn) {
  MessageFilter filter;

  EXPECT_EQ(filter.take("one\ntw"), "one\n");
  EXPECT_EQ(filter.take("o\n"), "two\n");
  EXPECT_FALSE(filter.holds_something());
}

TEST(MessageFilter, ShowsALineWithoutItsEndAtTheFlush) {
  MessageFilter filter;
  EXPECT_EQ(filter.take("half"), "");

  EXPECT_EQ(filter.flush(), "half\n");
}

TEST(MessageFilter, TakesTheRankAndSignalFromMpirunsNoticeAndHidesIt) {
  MessageFilter filter;

  EXPECT_EQ(filter.take("before\n" + kKilledNotice + "after\n"), "before\nafter\n");

  ASSERT_TRUE(filter.death());
  EXPECT_EQ(filter.death()->rank, 1);
  EXPECT_EQ(filter.death()->host, "vm");
  EXPECT_EQ(filter.death()->signal, 9);
}

TEST(MessageFilter, TakesTheRankAndCodeFromMpirunsNotice) {
  MessageFilter filter;

  EXPECT_EQ(filter.take(kExitedNotice), "");

  ASSERT_TRUE(filter.death());
  EXPECT_EQ(filter.death()->rank, 3);
  EXPECT_EQ(filter.death()->signal, 0);
  EXPECT_EQ(filter.death()->exit_code, 6);
}

TEST(MessageFilter, ReadsTheNoticeInAnyPieces) {
  const std::string text = "before\n" + kKilledNotice + "after\n";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    MessageFilter filter;
    auto shown = filter.take(text.substr(0, cut));
    shown += filter.take(text.substr(cut));
    EXPECT_EQ(shown, "before\nafter\n") << cut;
    EXPECT_EQ(filter.death()->signal, 9) << cut;
  }
}

TEST(MessageFilter, ShowsOtherNoticesOfMpirun) {
  const auto notice =
      kRuler + "\nThere are not enough slots available in the system\n" + kRuler + "\n";
  MessageFilter filter;

  EXPECT_EQ(filter.take(notice), notice);
  EXPECT_FALSE(filter.death());
}

TEST(MessageFilter, HidesWhatMpirunSaysAboutItself) {
  MessageFilter filter;

  EXPECT_EQ(filter.take("mpirun: Forwarding signal 10 to job\n"
                        "[vm:7] 1 more process has sent help message help-mpi-api.txt\n"
                        "[vm:7] Set MCA parameter \"orte_base_help_aggregate\" to 0 to see all\n"),
            "");
}

TEST(MessageFilter, FoldsOneWarningOfManyRanks) {
  MessageFilter filter;

  EXPECT_EQ(filter.take("rank 0: warning: disk is slow\nrank 2: warning: disk is slow\n"
                        "rank 1: warning: disk is slow\n"),
            "");
  EXPECT_EQ(filter.flush(), "warning: disk is slow (x3 ranks)\n");
}

TEST(MessageFilter, KeepsTheRankOfAWarningThatOneRankHasAlone) {
  MessageFilter filter;
  filter.take("rank 3: warning: disk is slow\n");

  EXPECT_EQ(filter.flush(), "rank 3: warning: disk is slow\n");
}

TEST(MessageFilter, ShowsWarningsBeforeTheErrorThatFollows) {
  MessageFilter filter;

  EXPECT_EQ(filter.take("rank 3: warning: w\nrank 3: error: e\n"),
            "rank 3: warning: w\nrank 3: error: e\n");
}

RC_GTEST_PROP(MessageFilter, LosesNoOrdinaryLine, ()) {
  const auto lines = *rc::gen::container<std::vector<std::string>>(
      rc::gen::container<std::string>(rc::gen::inRange<char>('a', 'z')));
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  MessageFilter filter;
  std::string shown;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto size = *rc::gen::inRange<std::size_t>(1, 9);
    shown += filter.take(text.substr(begin, size));
    begin += size;
  }

  RC_ASSERT(shown == text);
}

RC_GTEST_PROP(MessageFilter, SurvivesAnyBytesAndHoldsNothingAfterTheFlush, ()) {
  std::string text = "a\n" + kKilledNotice + "rank 1: warning: w\n" + kExitedNotice;
  const auto changes = *rc::gen::inRange(0, 10);
  for (int i = 0; i < changes; ++i) {
    text[*rc::gen::inRange<std::size_t>(0, text.size())] = *rc::gen::arbitrary<char>();
  }
  MessageFilter filter;
  filter.take(text);
  filter.flush();

  RC_ASSERT(!filter.holds_something());
}

TEST(NameOfSignal, SaysTheNumberAndTheWord) {
  EXPECT_EQ(name_of_signal(SIGKILL), "signal 9 (Killed)");
  EXPECT_EQ(name_of_signal(0), "signal 0");
}

}  // namespace
}  // namespace lockstep::launcher
