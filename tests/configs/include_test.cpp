#include "configs/include.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file_system.hpp"
#include "tests/configs/reading.hpp"

namespace lockstep::configs {
namespace {

class Include : public testing::Test {
 protected:
  Include() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              ("lockstep-include-" + std::to_string(::getpid()) + "-" + test->name());
    std::filesystem::create_directories(folder_);
  }
  ~Include() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    const auto path = (folder_ / name).string();
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    base::FileSystem::posix().open(path, base::OpenMode::kCreate)->append(text);
    return path;
  }

  static std::vector<Diagnostic> problems(const std::string& path) {
    try {
      read_config(path, {});
    } catch (const ConfigErrors& errors) {
      return errors.diagnostics;
    }
    ADD_FAILURE() << "nothing was reported for " << path;
    return {};
  }

  std::filesystem::path folder_;
};

TEST_F(Include, PutsTheIncludingFileOnTop) {
  write("base.yaml", kSmall);
  const auto path = write("exp.yaml", "include: base.yaml\ntrain: {epochs: 9}\n");

  const auto loaded = read_config(path, {});

  EXPECT_EQ(loaded.config.train.epochs, 9);
  EXPECT_EQ(loaded.config.train.global_batch, 8);
  EXPECT_EQ(loaded.origins.at("train.epochs").file, path);
  EXPECT_EQ(loaded.origins.at("train.global_batch").file, (folder_ / "base.yaml").string());
  EXPECT_EQ(loaded.origins.at("train.global_batch").line, 4);
}

TEST_F(Include, LetsTheLaterOfSeveralFilesWin) {
  write("a.yaml", kSmall);
  write("b.yaml", "train: {epochs: 2, seed: 5}\n");
  const auto path = write("exp.yaml", "include: [a.yaml, b.yaml]\n");

  const auto config = read_config(path, {}).config;

  EXPECT_EQ(config.train.epochs, 2);
  EXPECT_EQ(config.train.seed, 5);
}

TEST_F(Include, FindsFilesBesideTheOneThatNamesThem) {
  write("parts/deep.yaml", kSmall);
  write("parts/base.yaml", "include: deep.yaml\n");
  const auto path = write("exp.yaml", "include: parts/base.yaml\n");

  EXPECT_EQ(read_config(path, {}).config.train.epochs, 1);
}

TEST_F(Include, KeepsASectionWhoseLinesAreAllCommentedOut) {
  write("base.yaml", kSmall);
  const auto path = write("exp.yaml", "include: base.yaml\ntrain:\n  # epochs: 3\n");

  EXPECT_EQ(read_config(path, {}).config.train.epochs, 1);
}

TEST_F(Include, NamesACircle) {
  write("b.yaml", "include: a.yaml\n");
  const auto path = write("a.yaml", "include: b.yaml\n" + kSmall);

  const auto found = problems(path);

  ASSERT_EQ(found.size(), 1u);
  EXPECT_NE(found[0].message.find("including 'a.yaml' goes in a circle"), std::string::npos);
  EXPECT_EQ(found[0].file, (folder_ / "b.yaml").string());
  EXPECT_EQ(found[0].line, 1);
}

TEST_F(Include, PointsAtTheLineThatNamesAMissingFile) {
  write("base.yaml", kSmall);
  const auto path = write("exp.yaml", "train: {seed: 1}\ninclude: bas.yaml\n");

  const auto found = problems(path);

  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].message,
            "configuration file '" + (folder_ / "bas.yaml").string() + "' does not exist");
  EXPECT_EQ(found[0].note, "did you mean '" + (folder_ / "base.yaml").string() + "'?");
  EXPECT_EQ(found[0].line, 2);
}

TEST_F(Include, RefusesAValueThatIsNoFileName) {
  const auto path = write("exp.yaml", kSmall + "include: [{a: b}, \"${env:X,y}\"]\n");

  EXPECT_EQ(problems(path).size(), 2u);
}

TEST_F(Include, BoundsTheDepth) {
  for (int i = 0; i < 30; ++i) {
    write("n" + std::to_string(i) + ".yaml", "include: n" + std::to_string(i + 1) + ".yaml\n");
  }

  EXPECT_EQ(only_problem(problems((folder_ / "n0.yaml").string())),
            "files include each other deeper than 16 levels | put them together");
}

// Eight files, each naming the next three times, would be 3280 readings.
TEST_F(Include, BoundsTheNumberOfReadings) {
  for (int i = 0; i < 8; ++i) {
    const auto next = "n" + std::to_string(i + 1) + ".yaml";
    write("n" + std::to_string(i) + ".yaml",
          "include: [" + next + ", " + next + ", " + next + "]\n");
  }
  write("n8.yaml", "");

  EXPECT_EQ(only_problem(problems((folder_ / "n0.yaml").string())),
            "more than 100 files are included | put them together");
}

TEST_F(Include, ReportsSyntaxErrorsOfEveryFileAtOnce) {
  write("a.yaml", "x: [1\n");
  write("b.yaml", "y: {1\n");
  const auto path = write("exp.yaml", "include: [a.yaml, b.yaml]\n");

  EXPECT_EQ(problems(path).size(), 2u);
}

TEST_F(Include, SaysWhatIsWrongWithTheMainFile) {
  const auto missing = (folder_ / "exp.yml").string();
  write("exp.yaml", kSmall);
  const auto large = write("large.yaml", std::string(kMostFileBytes + 1, '#'));

  EXPECT_EQ(only_problem(problems(missing)), "configuration file '" + missing +
                                                 "' does not exist | did you mean '" +
                                                 (folder_ / "exp.yaml").string() + "'?");
  EXPECT_EQ(only_problem(problems(folder_.string())),
            "'" + folder_.string() +
                "' is a directory (a YAML file is wanted) | "
                "name the file in it");
  EXPECT_EQ(only_problem(problems(large)), "'" + large +
                                               "' is larger than 1 MiB (no configuration is) | "
                                               "check that it is the right file");
}

}  // namespace
}  // namespace lockstep::configs
