#include "checkpoints/ledger.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "checkpoints/json_lines.hpp"
#include "tests/checkpoints/raises.hpp"
#include "tests/support/fault_file_system.hpp"

namespace lockstep::checkpoints {
namespace {

using base::CheckpointError;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kPath[] = "/runs/a/ledger.jsonl";
constexpr char kSuperseded[] = "/runs/a/ledger.superseded.jsonl";

LedgerEntry entry(std::int64_t step) {
  return {.step = step,
          .epoch = step / 10,
          .samples = "5a",
          .loss = 1.0 / static_cast<double>(step),
          .gradient_norm = 0.5,
          .lr = 0.1,
          .world_size = 2,
          .state_digest = step % 2 == 0 ? std::string(64, 'd') : ""};
}

class Ledger : public testing::Test {
 protected:
  Ledger() { files_.make_directories("/runs/a"); }

  void write(std::int64_t from, std::int64_t to) {
    LedgerWriter writer(files_, kPath, from - 1);
    for (auto step = from; step <= to; ++step) writer.append(entry(step));
  }
  std::vector<std::string> lines() { return whole_lines(files_.read_text(kPath)); }
  void put(const std::vector<std::string>& lines) {
    std::string text;
    for (const auto& line : lines) text += line + "\n";
    files_.put(kPath, text);
  }

  tests::FaultFileSystem files_;
};

TEST_F(Ledger, WritesALineAStepEachWithTheHashOfTheOneBefore) {
  write(1, 2);

  const auto text = lines();
  ASSERT_EQ(text.size(), 2u);
  EXPECT_EQ(text[0],
            R"({"step":1,"epoch":0,"samples":"5a","loss":1.0,"loss_bits":"3ff0000000000000",)"
            R"("gradient_norm":0.5,"gradient_norm_bits":"3fe0000000000000","lr":0.1,)"
            R"("lr_bits":"3fb999999999999a","world_size":2,"prev":")" +
                std::string(64, '0') + R"("})");
  EXPECT_THAT(text[1], HasSubstr(R"("state_digest":")" + std::string(64, 'd') + R"(","prev":")" +
                                 base::sha256_hex(text[0]) + R"("})"));
}

TEST_F(Ledger, ReadsBackWhatWasWritten) {
  write(1, 3);

  const auto check = read_ledger(files_, kPath);

  EXPECT_EQ(check.problem, "");
  EXPECT_EQ(check.entries, (std::vector{entry(1), entry(2), entry(3)}));
}

TEST_F(Ledger, KeepsTheBitsOfNumbersThatJsonDoesNotHave) {
  auto odd = entry(1);
  odd.loss = std::numeric_limits<double>::quiet_NaN();
  odd.gradient_norm = std::numeric_limits<double>::infinity();
  odd.lr = -0.0;
  LedgerWriter(files_, kPath, 0).append(odd);

  const auto check = read_ledger(files_, kPath);

  ASSERT_EQ(check.entries.size(), 1u);
  EXPECT_TRUE(std::isnan(check.entries[0].loss));
  EXPECT_TRUE(std::isinf(check.entries[0].gradient_norm));
  EXPECT_TRUE(std::signbit(check.entries[0].lr));
}

TEST_F(Ledger, GoesOnWhereItStopped) {
  write(1, 2);
  write(3, 4);

  EXPECT_EQ(read_ledger(files_, kPath).entries.size(), 4u);
  EXPECT_EQ(read_ledger(files_, kPath).problem, "");
  EXPECT_FALSE(files_.exists(kSuperseded));
}

TEST_F(Ledger, MovesTheLinesOfAnAttemptThatWasCutOffAside) {
  write(1, 5);
  const auto old = lines();

  write(4, 4);

  EXPECT_EQ(read_ledger(files_, kPath).problem, "");
  EXPECT_EQ(read_ledger(files_, kPath).entries.size(), 4u);
  EXPECT_EQ(whole_lines(files_.read_text(kSuperseded)), (std::vector{old[3], old[4]}));
}

TEST_F(Ledger, TakesADigestThatComesLaterThanItsStepIntoTheStepsEntry) {
  {
    LedgerWriter writer(files_, kPath, 0);
    for (int step = 1; step <= 3; ++step) writer.append(entry(step));
    writer.append_digest(1, std::string(64, 'a'));
    writer.append(entry(4));
  }
  const auto text = lines();
  ASSERT_EQ(text.size(), 5u);
  EXPECT_EQ(text[3], R"({"digest_of_step":1,"state_digest":")" + std::string(64, 'a') +
                         R"(","prev":")" + base::sha256_hex(text[2]) + R"("})");

  const auto check = read_ledger(files_, kPath);

  EXPECT_EQ(check.problem, "");
  ASSERT_EQ(check.entries.size(), 4u);
  EXPECT_EQ(check.entries[0].state_digest, std::string(64, 'a'));
  EXPECT_EQ(check.entries[3], entry(4));
}

TEST_F(Ledger, KeepsADigestThatIsWrittenTwiceAndNamesOneThatContradicts) {
  LedgerWriter writer(files_, kPath, 0);
  writer.append(entry(1));
  writer.append(entry(2));
  writer.append_digest(2, std::string(64, 'd'));
  EXPECT_EQ(read_ledger(files_, kPath).problem, "");

  writer.append_digest(2, std::string(64, 'e'));

  EXPECT_EQ(read_ledger(files_, kPath).problem,
            "line 4 has another state digest for step 2 than a line before it");
}

TEST_F(Ledger, RefusesADigestOfAStepThatIsNotThere) {
  LedgerWriter writer(files_, kPath, 0);
  writer.append(entry(1));

  EXPECT_THROW(writer.append_digest(2, "d"), base::InternalError);
  EXPECT_THROW(writer.append_digest(0, "d"), base::InternalError);
}

TEST_F(Ledger, NamesADigestLineThatWasMovedBeforeItsStep) {
  write(1, 1);
  auto text = lines();
  text.push_back(R"({"digest_of_step":2,"state_digest":"dd","prev":")" + base::sha256_hex(text[0]) +
                 R"("})");
  put(text);

  EXPECT_EQ(read_ledger(files_, kPath).problem,
            "line 2 has the digest of step 2, which is not there before it");
}

TEST_F(Ledger, KeepsTheDigestsOfTheStepsThatStayWhenTheRestIsCut) {
  // The checkpoint of step 3 became durable when step 5 was done; a resume from it cuts 4 and 5,
  // and the digest that stood after them is still the ledger's word for step 3.
  {
    LedgerWriter writer(files_, kPath, 0);
    for (int step = 1; step <= 5; ++step) writer.append(entry(step));
    writer.append_digest(3, std::string(64, 'c'));
    writer.append(entry(6));
    writer.append_digest(5, std::string(64, 'e'));
  }

  write(4, 4);

  const auto check = read_ledger(files_, kPath);
  EXPECT_EQ(check.problem, "");
  ASSERT_EQ(check.entries.size(), 4u);
  EXPECT_EQ(check.entries[2].state_digest, std::string(64, 'c'));
  EXPECT_EQ(check.entries[3], entry(4));
  EXPECT_EQ(lines().size(), 5u);
  EXPECT_EQ(whole_lines(files_.read_text(kSuperseded)).size(), 5u);
}

TEST_F(Ledger, CutsNothingWhereOnlyDigestsFollowTheLastStep) {
  {
    LedgerWriter writer(files_, kPath, 0);
    writer.append(entry(1));
    writer.append_digest(1, std::string(64, 'a'));
  }

  write(2, 2);

  EXPECT_FALSE(files_.exists(kSuperseded));
  EXPECT_EQ(lines().size(), 3u);
  EXPECT_EQ(read_ledger(files_, kPath).entries[0].state_digest, std::string(64, 'a'));
}

TEST_F(Ledger, ReadsAndMendsATornLastLine) {
  write(1, 2);
  files_.put(kPath, files_.read_text(kPath) + R"({"step":3,"epo)");
  EXPECT_EQ(read_ledger(files_, kPath).problem, "");
  EXPECT_EQ(read_ledger(files_, kPath).entries.size(), 2u);

  write(3, 3);

  EXPECT_EQ(read_ledger(files_, kPath).entries.size(), 3u);
  EXPECT_EQ(read_ledger(files_, kPath).problem, "");
  EXPECT_EQ(files_.read_text(kSuperseded), "{\"step\":3,\"epo\n");
}

TEST_F(Ledger, NamesTheFirstLineAfterOneThatWasChanged) {
  write(1, 4);
  auto text = lines();
  text[1].replace(text[1].find("\"world_size\":2"), 14, "\"world_size\":3");
  put(text);

  const auto check = read_ledger(files_, kPath);

  EXPECT_EQ(check.problem, "line 3 does not follow from the line before (one of them was changed)");
  EXPECT_EQ(check.entries.size(), 2u);
}

TEST_F(Ledger, NamesALineThatIsMissingRepeatedOrSwapped) {
  write(1, 4);
  const auto text = lines();

  put({text[0], text[2], text[3]});
  EXPECT_THAT(read_ledger(files_, kPath).problem, HasSubstr("line 2 does not follow"));
  put({text[0], text[1], text[1], text[2]});
  EXPECT_THAT(read_ledger(files_, kPath).problem, HasSubstr("line 3 does not follow"));
  put({text[1], text[0], text[2]});
  EXPECT_THAT(read_ledger(files_, kPath).problem, HasSubstr("line 1 does not follow"));
  put({text[0], "nonsense"});
  EXPECT_THAT(read_ledger(files_, kPath).problem, HasSubstr("line 2 does not parse"));
}

TEST_F(Ledger, FindsARepeatedStepEvenWhenItsHashIsRight) {
  write(1, 2);
  auto text = lines();
  auto again = text[1];
  again.replace(again.find(base::sha256_hex(text[0])), 64, base::sha256_hex(text[1]));
  put({text[0], text[1], again});

  EXPECT_EQ(read_ledger(files_, kPath).problem,
            "line 3 is of step 2 (a step was repeated or skipped)");
}

TEST_F(Ledger, RefusesToGoOnFromACheckpointThatItsLinesDoNotReach) {
  write(1, 2);

  EXPECT_EQ(tests::text_of<CheckpointError>([&] { LedgerWriter(files_, kPath, 3); }),
            "ledger '/runs/a/ledger.jsonl' is whole up to step 2, the checkpoint is of step 3 "
            "(lines are missing or changed); run 'lockstep verify'");
  EXPECT_EQ(lines().size(), 2u);
}

TEST_F(Ledger, RefusesToGoOnPastAChangedLine) {
  write(1, 4);
  auto text = lines();
  text[1].replace(text[1].find("\"5a\""), 4, "\"5b\"");
  put(text);

  EXPECT_THAT(tests::text_of<CheckpointError>([&] { LedgerWriter(files_, kPath, 4); }),
              HasSubstr("is whole up to step 2, the checkpoint is of step 4"));
}

TEST_F(Ledger, RefusesALineOutOfOrder) {
  LedgerWriter writer(files_, kPath, 0);
  writer.append(entry(1));

  EXPECT_THROW(writer.append(entry(1)), base::InternalError);
  EXPECT_THROW(writer.append(entry(3)), base::InternalError);
}

TEST_F(Ledger, SaysWhenThereIsNone) {
  EXPECT_THAT(tests::text_of<CheckpointError>([&] { read_ledger(files_, kPath); }),
              HasSubstr("ledger '/runs/a/ledger.jsonl' does not exist"));
}

TEST_F(Ledger, LosesNothingThatWasSyncedWhereverTheCutOfAResumeIsInterrupted) {
  bool cut = true;
  for (int n = 1; cut; ++n) {
    ASSERT_LT(n, 50);
    tests::FaultFileSystem files;
    files.put(kPath, "");
    {
      LedgerWriter writer(files, kPath, 0);
      for (int step = 1; step <= 5; ++step) writer.append(entry(step));
      writer.sync();
    }
    files.cut_power_at(files.changes() + n);
    cut = false;
    try {
      LedgerWriter writer(files, kPath, 3);
      writer.append(entry(4));
      writer.sync();
    } catch (const tests::PowerCut&) {
      cut = true;
    }
    files.restart(tests::Unsynced::kPartial, static_cast<std::uint64_t>(n));

    LedgerWriter writer(files, kPath, 3);
    writer.append(entry(4));
    const auto check = read_ledger(files, kPath);
    EXPECT_EQ(check.problem, "") << "cut at change " << n;
    EXPECT_EQ(check.entries.size(), 4u) << "cut at change " << n;
  }
}

TEST(JsonLinesTest, GrowsALineAnObjectAndReadsThemBack) {
  tests::FaultFileSystem files;
  JsonLines(files, "/events.jsonl").append({{"event", "start"}});
  JsonLines(files, "/events.jsonl").append({{"event", "end"}});

  EXPECT_EQ(files.read_text("/events.jsonl"), "{\"event\":\"start\"}\n{\"event\":\"end\"}\n");
  EXPECT_EQ(read_json_lines(files, "/events.jsonl").size(), 2u);
}

TEST(JsonLinesTest, EndsATornLineBeforeItAddsAnother) {
  tests::FaultFileSystem files;
  files.put("/events.jsonl", "{\"event\":\"start\"}\n{\"eve");

  JsonLines(files, "/events.jsonl").append({{"event", "end"}});

  const auto objects = read_json_lines(files, "/events.jsonl");
  ASSERT_EQ(objects.size(), 2u);
  EXPECT_EQ(objects[1]["event"], "end");
}

TEST(JsonLinesTest, WritesTextThatIsNoUtf8WithReplacementCharacters) {
  tests::FaultFileSystem files;

  JsonLines(files, "/x").append({{"message", "\xff"}});

  EXPECT_EQ(read_json_lines(files, "/x").at(0)["message"], "\xef\xbf\xbd");
}

TEST(JsonLinesTest, HasNoLinesWhereThereIsNoFile) {
  tests::FaultFileSystem files;
  EXPECT_THAT(read_json_lines(files, "/none"), IsEmpty());
}

}  // namespace
}  // namespace lockstep::checkpoints
