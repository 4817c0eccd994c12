#include "checkpoints/checkpoint_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "tests/checkpoints/raises.hpp"
#include "tests/checkpoints/saved_state.hpp"
#include "tests/support/fault_file_system.hpp"

namespace lockstep::checkpoints {
namespace {

using base::CheckpointError;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using tests::expect_whole;
using tests::save;
using tests::SavedState;
using tests::text_of;

constexpr char kFolder[] = "/runs/a/checkpoints";

class CheckpointStoreTest : public testing::Test {
 protected:
  std::vector<std::int64_t> steps() {
    std::vector<std::int64_t> steps;
    for (const auto& summary : store_.list()) {
      if (summary.valid) steps.push_back(summary.step);
    }
    return steps;
  }
  /// Replaces text in a manifest.
  void edit(const std::string& path, const std::string& from, const std::string& to) {
    auto text = files_.read_text(path + "/manifest.json");
    const auto at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    files_.put(path + "/manifest.json", text.replace(at, from.size(), to));
  }

  tests::FaultFileSystem files_;
  tests::FixedClock clock_;
  CheckpointStore store_{files_, kFolder, clock_};
};

TEST_F(CheckpointStoreTest, ReadsBackEveryByteThatItSaved) {
  const auto path = save(store_, SavedState(412));

  EXPECT_EQ(path, "/runs/a/checkpoints/step-00000412");
  EXPECT_EQ(store_.newest_good(), path);
  EXPECT_EQ(expect_whole(store_, path), 412);
  const auto manifest = store_.open(path);
  EXPECT_EQ(manifest.info.epoch, 41);
  EXPECT_EQ(manifest.info.metadata_json, R"({"seed":7,"lr":0.1})");
}

TEST_F(CheckpointStoreTest, WritesTheSameFilesOnAnyNumberOfRanks) {
  save(store_, SavedState(5));
  CheckpointStore others(files_, "/runs/b/checkpoints", clock_);
  const auto names = files_.list("/runs/a/checkpoints/step-00000005");
  ASSERT_THAT(names, ElementsAre("manifest.json", "model.safetensors", "optimizer.safetensors"));

  for (int world_size = 2; world_size <= 5; ++world_size) {
    save(others, SavedState(5), world_size);

    for (const auto& name : names) {
      EXPECT_EQ(files_.read_text("/runs/b/checkpoints/step-00000005/" + name),
                files_.read_text("/runs/a/checkpoints/step-00000005/" + name))
          << name << " of " << world_size << " ranks";
    }
  }
}

TEST_F(CheckpointStoreTest, HashesNamesHeadersAndExtentDigestsInOrder) {
  // The text that FORMAT.md describes, put together by hand.
  SafetensorsHeader header;
  header.tensors = {{.name = "w", .dtype = "U8", .shape = {3}, .begin = 0, .end = 3}};
  const std::vector<StateFile> files{{.name = "m", .header = header}};
  const std::vector<StateExtent> extents{{.file = 0, .offset = 0, .length = 2},
                                         {.file = 0, .offset = 2, .length = 1}};
  const std::vector<std::string> digests{std::string(64, 'a'), std::string(64, 'b')};

  EXPECT_EQ(state_digest(files, extents, digests),
            base::sha256_hex("lockstep-state-1\nm " + base::sha256_hex(serialize(header)) + "\n" +
                             digests[0] + "\n" + digests[1] + "\n"));
}

TEST_F(CheckpointStoreTest, ListsOldestFirstWithWhatIsKnownOfEach) {
  save(store_, SavedState(20));
  save(store_, SavedState(3));

  const auto list = store_.list();

  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].step, 3);
  EXPECT_EQ(list[1].step, 20);
  EXPECT_EQ(list[1].epoch, 2);
  EXPECT_EQ(list[1].bytes, 2072u);
  EXPECT_EQ(list[1].state_digest, SavedState(20).digest());
  EXPECT_TRUE(list[1].valid);
}

TEST_F(CheckpointStoreTest, HasNothingBeforeTheFirstSave) {
  EXPECT_THAT(store_.list(), IsEmpty());
  EXPECT_EQ(store_.newest_good(), std::nullopt);
}

TEST_F(CheckpointStoreTest, TakesADirectoryWithoutManifestForNoCheckpoint) {
  const auto good = save(store_, SavedState(1));
  const auto bad = save(store_, SavedState(2));
  files_.remove_all(bad + "/manifest.json");
  std::vector<std::string> problems;

  EXPECT_EQ(store_.newest_good(&problems), good);
  EXPECT_THAT(problems, ElementsAre("checkpoint '/runs/a/checkpoints/step-00000002' does not exist "
                                    "(there is no manifest.json in it); list those of a run with "
                                    "'lockstep show RUN'"));
  const auto list = store_.list();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_FALSE(list[1].valid);
  EXPECT_EQ(list[1].problem, problems[0]);
}

TEST_F(CheckpointStoreTest, LooksOnlyAtNamesThatItMakesItself) {
  save(store_, SavedState(1));
  files_.put("/runs/a/checkpoints/step-2/manifest.json", "{}");
  files_.put("/runs/a/checkpoints/step-00000003.bak/manifest.json", "{}");
  files_.put("/runs/a/checkpoints/notes.txt", "mine");

  EXPECT_EQ(store_.list().size(), 1u);
  store_.retain({.keep = 1});
  EXPECT_TRUE(files_.exists("/runs/a/checkpoints/notes.txt"));
  EXPECT_TRUE(files_.exists("/runs/a/checkpoints/step-00000003.bak/manifest.json"));
}

TEST_F(CheckpointStoreTest, KeepsTheNewestAndTheBest) {
  for (int step = 1; step <= 6; ++step) save(store_, SavedState(step));

  store_.retain({.keep = 2, .best_step = 3});

  EXPECT_THAT(steps(), ElementsAre(3, 5, 6));
}

TEST_F(CheckpointStoreTest, KeepsAtLeastTheNewest) {
  for (int step = 1; step <= 3; ++step) save(store_, SavedState(step));

  store_.retain({.keep = 0});

  EXPECT_THAT(steps(), ElementsAre(3));
}

TEST_F(CheckpointStoreTest, DoesNotCountWhatIsNotValidAmongTheNewest) {
  // With keep 1, a damaged newer directory must not push out the last good one, and it stays for a
  // person to look at.
  save(store_, SavedState(1));
  const auto damaged = save(store_, SavedState(2));
  files_.remove_all(damaged + "/model.safetensors");

  CheckpointStore(files_, kFolder).retain({.keep = 1});

  EXPECT_THAT(steps(), ElementsAre(1));
  EXPECT_TRUE(files_.is_directory(damaged));
}

TEST_F(CheckpointStoreTest, KeepsTheOneJustSavedBeforeThoseOfAnAttemptThatWasGivenUp) {
  // A run went back from damaged step 500 to 300 and saved 400: with keep 1 it was 400 that went.
  save(store_, SavedState(300));
  const auto damaged = save(store_, SavedState(500));
  files_.flip(damaged + "/model.safetensors", 900);
  CheckpointStore resumed(files_, kFolder);
  save(resumed, SavedState(400));

  resumed.retain({.keep = 1});

  EXPECT_THAT(steps(), ElementsAre(400));
  EXPECT_FALSE(files_.is_directory(damaged));
}

TEST_F(CheckpointStoreTest, KeepsThoseOfEveryNthStepForGood) {
  for (const int step : {2, 4, 5, 10, 12, 13}) save(store_, SavedState(step));

  store_.retain({.keep = 1, .best_step = 4, .every_steps = 5});

  EXPECT_THAT(steps(), ElementsAre(4, 5, 10, 13));
}

TEST_F(CheckpointStoreTest, StopsWritingWhereItIsToldTo) {
  const SavedState state(1);
  const auto ticket = store_.begin(1, state.files(), state.extents());
  EXPECT_EQ(ticket.directory, store_.ticket_of(1).directory);
  int pieces = 0;

  EXPECT_THROW(store_.write_extents(ticket, state.files(), state.extents(), state.owned(0, 1),
                                    WriteMode::kPastCache,
                                    [&] {
                                      if (++pieces == 2) throw std::runtime_error("enough");
                                    }),
               std::runtime_error);

  EXPECT_EQ(pieces, 2);
}

TEST_F(CheckpointStoreTest, RemovesWhatComesAfterAStep) {
  for (int step = 1; step <= 4; ++step) save(store_, SavedState(step));

  store_.remove_after(2);

  EXPECT_THAT(steps(), ElementsAre(1, 2));
}

TEST_F(CheckpointStoreTest, RemovesWhatCrashedSavesLeftBehind) {
  save(store_, SavedState(1));
  files_.put("/runs/a/checkpoints/.step-00000002.partial/model.safetensors", "half");
  files_.put("/runs/a/checkpoints/.step-00000000.removed/model.safetensors", "half");
  files_.put("/runs/a/checkpoints/.step-00000001.replaced/model.safetensors", "old");

  store_.retain({.keep = 3});

  EXPECT_THAT(files_.list(kFolder), ElementsAre("step-00000001"));
}

TEST_F(CheckpointStoreTest, FindsTheOldOneWhenACrashCameBetweenTheTwoRenamesOfAReplacement) {
  const auto path = save(store_, SavedState(1));
  files_.rename(path, "/runs/a/checkpoints/.step-00000001.replaced");

  const auto found = store_.newest_good();
  ASSERT_EQ(found, "/runs/a/checkpoints/.step-00000001.replaced");
  EXPECT_EQ(expect_whole(store_, *found), 1);

  store_.retain({.keep = 1});
  EXPECT_EQ(store_.newest_good(), path);
}

TEST_F(CheckpointStoreTest, ReplacesACheckpointOfTheSameStep) {
  const auto path = save(store_, SavedState(1));
  files_.flip(path + "/model.safetensors", 900);
  ASSERT_EQ(store_.newest_good(), std::nullopt);

  EXPECT_EQ(save(store_, SavedState(1)), path);

  EXPECT_EQ(expect_whole(store_, path), 1);
  EXPECT_THAT(files_.list(kFolder), ElementsAre("step-00000001"));
}

TEST_F(CheckpointStoreTest, LeavesNothingOfASaveThatIsAbandoned) {
  const SavedState state(1);
  const auto ticket = store_.begin(1, state.files(), state.extents());
  store_.write_extents(ticket, state.files(), state.extents(), state.owned(0, 2));

  store_.abandon(ticket);

  EXPECT_THAT(files_.list(kFolder), IsEmpty());
}

TEST_F(CheckpointStoreTest, RefusesToBeginWhereThereIsNoRoom) {
  files_.set_free_bytes(2071);

  const auto text = text_of<base::IoError>([&] { save(store_, SavedState(7)); });

  EXPECT_EQ(text,
            "checkpoint of step 7 needs 2.0 KiB, '/runs/a/checkpoints' has 2.0 KiB free (the last "
            "checkpoint is kept); free space there or lower checkpoint.keep");
  EXPECT_THAT(files_.list(kFolder), IsEmpty());
  files_.set_free_bytes(2072);
  EXPECT_EQ(expect_whole(store_, save(store_, SavedState(7))), 7);
}

TEST_F(CheckpointStoreTest, RefusesAFormatOfANewerLockstep) {
  const auto path = save(store_, SavedState(1));
  edit(path, "\"version\": 1", "\"version\": 2");

  EXPECT_EQ(text_of<CheckpointError>([&] { store_.open(path); }),
            "checkpoint '/runs/a/checkpoints/step-00000001' has format version 2 (written by a "
            "newer Lockstep, this one reads up to 1); use that version");
}

TEST_F(CheckpointStoreTest, NamesTheFirstTensorThatAnotherModelHasOtherwise) {
  const auto manifest = store_.open(save(store_, SavedState(1)));
  const SavedState state(1);
  auto files = state.files();

  files[0].header.tensors[1].shape = {2, 2};
  EXPECT_THAT(text_of<CheckpointError>(
                  [&] { store_.require_same_state(manifest, files, state.extents()); }),
              HasSubstr("is of another model or optimizer (tensor 'layer.bias' has another shape "
                        "or dtype); resume it with the configuration it was made with"));

  files = state.files();
  files[0].header.tensors[2].name = "steps";
  EXPECT_THAT(text_of<CheckpointError>(
                  [&] { store_.require_same_state(manifest, files, state.extents()); }),
              HasSubstr("it has tensor 'batches' where 'steps' is wanted"));

  files = state.files();
  files[1].header.tensors.clear();
  EXPECT_THAT(text_of<CheckpointError>(
                  [&] { store_.require_same_state(manifest, files, state.extents()); }),
              HasSubstr("it has more tensors"));

  files.pop_back();
  EXPECT_THAT(text_of<CheckpointError>(
                  [&] { store_.require_same_state(manifest, files, state.extents()); }),
              HasSubstr("it has other files"));
}

TEST_F(CheckpointStoreTest, RefusesExtentsThatDoNotTileTheirFile) {
  const SavedState state(1);
  auto extents = state.extents();
  extents[1].offset += 1;
  EXPECT_THROW(store_.begin(1, state.files(), extents), base::InternalError);

  extents = state.extents();
  extents.pop_back();
  EXPECT_THROW(store_.begin(1, state.files(), extents), base::InternalError);
  EXPECT_FALSE(files_.exists(kFolder));
}

TEST_F(CheckpointStoreTest, RefusesToCommitWhatNoRankHasWritten) {
  const SavedState state(1);
  const auto ticket = store_.begin(1, state.files(), state.extents());
  auto digests = state.digests();
  digests[2].clear();

  EXPECT_THROW(store_.commit(ticket, state.files(), state.extents(), digests, state.info()),
               base::InternalError);
  EXPECT_EQ(store_.newest_good(), std::nullopt);
}

TEST_F(CheckpointStoreTest, SavesAFileWithoutTensorsAndTensorsWithoutElements) {
  SafetensorsHeader header;
  header.tensors = {{.name = "z", .dtype = "F32", .shape = {0}, .begin = 0, .end = 0},
                    {.name = "a", .dtype = "F32", .shape = {2, 0}, .begin = 0, .end = 0}};
  const std::vector<StateFile> files{{.name = "empty.safetensors", .header = header},
                                     {.name = "none.safetensors", .header = {}}};
  const auto ticket = store_.begin(1, files, {});

  const auto path = store_.commit(ticket, files, {}, {}, {.step = 1});

  const auto manifest = store_.open(path);
  EXPECT_EQ(manifest.files[0].header, header);
  EXPECT_EQ(store_.newest_good(), path);
}

}  // namespace
}  // namespace lockstep::checkpoints
