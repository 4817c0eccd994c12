#include "trainer/prediction_stage.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <random>

#include "base/error.hpp"
#include "tests/support/fault_file_system.hpp"

namespace lockstep::trainer {
namespace {

using testing::HasSubstr;
using tests::FaultFileSystem;
using tests::Unsynced;

constexpr char kPartial[] = "/out/.p.h5.partial";
constexpr char kJournal[] = "/out/.p.h5.journal";
constexpr std::int64_t kRows = 22, kUnit = 4;
constexpr std::size_t kRowBytes = 6;

StagedRows staged(const std::string& identity = "model 1") {
  return {.output = "/out/p.h5",
          .identity = identity,
          .rows = kRows,
          .unit = kUnit,
          .row_bytes = kRowBytes};
}

/// What rows are, as a pure function of their numbers.
std::vector<std::byte> rows_of(std::int64_t begin, std::int64_t end) {
  std::vector<std::byte> bytes;
  for (auto row = begin; row < end; ++row) {
    for (std::size_t i = 0; i < kRowBytes; ++i) {
      bytes.push_back(static_cast<std::byte>(row * 31 + static_cast<std::int64_t>(i) * 7));
    }
  }
  return bytes;
}

/// Ranges that are right; the rest is dropped.
std::size_t keep_what_is_right(PredictionStage& stage) {
  std::size_t good = 0;
  while (good < stage.ranges() && stage.read(good)) ++good;
  stage.keep(good);
  return good;
}

/// Goes on to `end`, with a commit after each `units`.
void go_on(PredictionStage& stage, std::int64_t end, std::int64_t units = 1) {
  for (auto row = stage.committed(); row < end;) {
    const auto next = std::min(row + kUnit * units, end);
    stage.append(rows_of(row, next));
    stage.commit();
    row = next;
  }
}

void expect_right_rows(PredictionStage& stage, const std::string& when) {
  std::int64_t row = 0;
  for (std::size_t i = 0; i < stage.ranges(); ++i) {
    const auto bytes = stage.read(i);
    ASSERT_TRUE(bytes) << when;
    const auto end = row + static_cast<std::int64_t>(bytes->size() / kRowBytes);
    ASSERT_EQ(stage.begin_of(i), row) << when;
    ASSERT_EQ(*bytes, rows_of(row, end)) << when;
    row = end;
  }
  ASSERT_EQ(row, stage.committed()) << when;
}

FaultFileSystem with_rows(std::int64_t end, const std::string& identity = "model 1") {
  FaultFileSystem files;
  files.put("/out/other", "");
  PredictionStage stage(files, staged(identity));
  keep_what_is_right(stage);
  go_on(stage, end);
  return files;
}

TEST(PredictionStage, GoesOnAfterWhatWasCommitted) {
  auto files = with_rows(12);

  PredictionStage stage(files, staged());
  EXPECT_EQ(keep_what_is_right(stage), 3u);
  EXPECT_EQ(stage.committed(), 12);
  EXPECT_EQ(stage.dropped(), "");
  go_on(stage, kRows, 2);

  EXPECT_EQ(stage.committed(), kRows);
  expect_right_rows(stage, "at the end");
  stage.remove();
  EXPECT_THAT(files.all_files(), testing::ElementsAre("/out/other"));
}

TEST(PredictionStage, DropsWhatIsOfAnotherModel) {
  auto files = with_rows(12, "model 2");

  PredictionStage stage(files, staged());

  EXPECT_EQ(stage.ranges(), 0u);
  EXPECT_THAT(stage.dropped(), HasSubstr("of another model"));
  stage.keep(0);
  go_on(stage, kRows);
  expect_right_rows(stage, "after the other model");
}

TEST(PredictionStage, KeepsWhatComesBeforeADamagedRow) {
  auto files = with_rows(12);
  files.flip(kPartial, 5 * kRowBytes);

  PredictionStage stage(files, staged());
  EXPECT_EQ(keep_what_is_right(stage), 1u);

  EXPECT_THAT(stage.dropped(), HasSubstr("damaged from row 4 on"));
  go_on(stage, kRows);
  expect_right_rows(stage, "after the damage");
  PredictionStage again(files, staged());
  EXPECT_EQ(again.committed(), kRows) << "the journal speaks of what was dropped";
}

TEST(PredictionStage, StartsOverWhenItsRowsAreGone) {
  auto files = with_rows(12);
  files.remove_all(kPartial);

  PredictionStage stage(files, staged());

  EXPECT_EQ(stage.ranges(), 0u);
  EXPECT_THAT(stage.dropped(), HasSubstr("missing"));
}

TEST(PredictionStage, NeverTrustsADamagedJournal) {
  const auto pristine = with_rows(kRows).read_text(kJournal);
  std::mt19937_64 random(1);
  int used = 0;
  for (int round = 0; round < 3000; ++round) {
    auto files = with_rows(kRows);
    auto text = pristine;
    for (auto changes = random() % 3 + 1; changes > 0 && !text.empty(); --changes) {
      const auto place = random() % text.size();
      switch (random() % 4) {
        case 0: text[place] = static_cast<char>(random()); break;
        case 1: text.erase(place, random() % 20 + 1); break;
        case 2: text.insert(place, text.substr(random() % text.size(), 30)); break;
        case 3: text[place] = "0123456789,:{}\"\n"[random() % 16]; break;
      }
    }
    files.put(kJournal, text);

    PredictionStage stage(files, staged());
    used += keep_what_is_right(stage) > 0 ? 1 : 0;
    expect_right_rows(stage, "journal " + text);
    go_on(stage, kRows);
    expect_right_rows(stage, "after journal " + text);
  }
  EXPECT_GT(used, 100) << "what is not damaged is used";
}

TEST(PredictionStage, LosesNothingCommittedWhereverThePowerIsCut) {
  for (const auto unsynced : {Unsynced::kLost, Unsynced::kKept, Unsynced::kPartial}) {
    for (std::uint64_t seed = 0; seed < (unsynced == Unsynced::kPartial ? 6u : 1u); ++seed) {
      bool cut = true;
      int n = 1;
      for (; cut; ++n) {
        ASSERT_LT(n, 200);
        const auto when = "power cut at change " + std::to_string(n);
        auto files = with_rows(8, n % 2 == 0 ? "model 1" : "model 2");
        const std::int64_t before = n % 2 == 0 ? 8 : 0;
        std::int64_t committed = before;
        files.cut_power_at(files.changes() + n);
        cut = false;
        try {
          PredictionStage stage(files, staged());
          keep_what_is_right(stage);
          while (stage.committed() < kRows) {
            go_on(stage, std::min(stage.committed() + kUnit, kRows));
            committed = stage.committed();
          }
        } catch (const tests::PowerCut&) {
          cut = true;
        }
        files.restart(unsynced, seed * 1000 + static_cast<std::uint64_t>(n));

        PredictionStage stage(files, staged());
        keep_what_is_right(stage);
        EXPECT_GE(stage.committed(), committed) << when;
        expect_right_rows(stage, when);
        go_on(stage, kRows);
        expect_right_rows(stage, when);
      }
      EXPECT_GT(n, 10) << "so few changes cannot be a prediction";
    }
  }
}

TEST(PredictionStage, ReportsAFullDiskAndGoesOnLater) {
  auto files = with_rows(8);
  {
    PredictionStage stage(files, staged());
    keep_what_is_right(stage);
    files.fill_after(10);
    EXPECT_THROW(go_on(stage, kRows), base::IoError);
  }
  files.make_room();

  PredictionStage stage(files, staged());
  keep_what_is_right(stage);
  EXPECT_EQ(stage.committed(), 8);
  go_on(stage, kRows);
  expect_right_rows(stage, "after the full disk");
}

}  // namespace
}  // namespace lockstep::trainer
