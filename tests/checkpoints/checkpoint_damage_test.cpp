// A checkpoint of which anything changed since it was written is found out, and the message says
// where.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "checkpoints/checkpoint_store.hpp"
#include "tests/checkpoints/raises.hpp"
#include "tests/checkpoints/saved_state.hpp"
#include "tests/support/fault_file_system.hpp"

namespace lockstep::checkpoints {
namespace {

using base::CheckpointError;
using testing::HasSubstr;
using tests::save;
using tests::SavedState;
using tests::text_of;

class CheckpointDamage : public testing::Test {
 protected:
  CheckpointDamage() : path_(save(store_, SavedState(412))) {}

  std::string file(const std::string& name) const { return path_ + "/" + name; }
  /// The text of the CheckpointError that reading everything must end in.
  std::string complaint() {
    return text_of<CheckpointError>([&] { store_.verify(store_.open(path_)); });
  }

  tests::FaultFileSystem files_;
  CheckpointStore store_{files_, "/runs/a/checkpoints"};
  std::string path_;
};

TEST_F(CheckpointDamage, IsFoundInEveryByteOfEveryFile) {
  ASSERT_EQ(files_.list(path_).size(), 3u);
  for (const auto& name : files_.list(path_)) {
    const auto size = *files_.file_size(file(name));
    ASSERT_GT(size, 1000u);
    for (std::uint64_t at = 0; at < size; ++at) {
      files_.flip(file(name), at);
      EXPECT_THROW(store_.verify(store_.open(path_)), CheckpointError) << name << " byte " << at;
      files_.flip(file(name), at);
    }
  }
  EXPECT_NO_THROW(store_.verify(store_.open(path_)));
}

TEST_F(CheckpointDamage, IsFoundWhereverAFileIsCutShort) {
  for (const auto& name : files_.list(path_)) {
    const auto whole = files_.read_text(file(name));
    for (std::size_t size = 0; size + 1 < whole.size(); ++size) {
      files_.put(file(name), whole.substr(0, size));
      EXPECT_THROW(store_.open(path_), CheckpointError) << name << " cut to " << size;
    }
    files_.put(file(name), whole);
  }
}

TEST_F(CheckpointDamage, NamesFileTensorsAndBytesOfFlippedData) {
  const auto data_begin = store_.open(path_).data_offsets[0];
  files_.flip(file("model.safetensors"), data_begin + 1030);

  EXPECT_EQ(complaint(),
            "checkpoint '/runs/a/checkpoints/step-00000412' cannot be used (bytes 600 to 1040 of "
            "the data in 'model.safetensors' are not what was written; they belong to "
            "'layer.weight', 'layer.bias'); resume from an older one or run 'lockstep verify'");
}

TEST_F(CheckpointDamage, NamesTheFileWithAFlippedHeader) {
  files_.flip(file("optimizer.safetensors"), 20);

  EXPECT_THAT(complaint(),
              HasSubstr("the header of 'optimizer.safetensors' is not the one that was written"));
}

TEST_F(CheckpointDamage, NamesAFileThatIsCutShort) {
  const auto text = files_.read_text(file("model.safetensors"));
  files_.put(file("model.safetensors"), text.substr(0, text.size() - 10));

  EXPECT_THAT(complaint(),
              HasSubstr("file '/runs/a/checkpoints/step-00000412/model.safetensors' is "
                        "not a good safetensors file (it has " +
                        std::to_string(text.size() - 10) + " bytes, its header describes "));
}

TEST_F(CheckpointDamage, NamesAFileThatIsMissing) {
  files_.remove_all(file("optimizer.safetensors"));

  EXPECT_EQ(complaint(),
            "file '/runs/a/checkpoints/step-00000412/optimizer.safetensors' is missing (the "
            "checkpoint is not complete); use an older one");
}

TEST_F(CheckpointDamage, SaysThatTheManifestWasEdited) {
  auto text = files_.read_text(file("manifest.json"));
  text.replace(text.find("\"seed\": 7"), 9, "\"seed\": 8");
  files_.put(file("manifest.json"), text);

  EXPECT_THAT(complaint(), HasSubstr("(manifest.json is not what was written)"));
}

TEST_F(CheckpointDamage, IsFoundWhenFilesOfTwoCheckpointsAreMixed) {
  const auto other = save(store_, SavedState(413));
  files_.put(file("model.safetensors"), files_.read_text(other + "/model.safetensors"));

  EXPECT_THAT(complaint(), HasSubstr("bytes 0 to 600 of the data in 'model.safetensors'"));
}

TEST_F(CheckpointDamage, MakesTheNewestGoodOneAnOlderOne) {
  const auto newer = save(store_, SavedState(500));
  files_.flip(newer + "/optimizer.safetensors", 900);
  std::vector<std::string> problems;

  EXPECT_EQ(store_.newest_good(&problems), path_);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0], HasSubstr("'m.layer.weight'"));
}

}  // namespace
}  // namespace lockstep::checkpoints
