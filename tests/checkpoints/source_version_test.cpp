#include "checkpoints/source_version.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file_system.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::checkpoints {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

class SourceVersionTest : public testing::Test {
 protected:
  void shell(const std::string& command) {
    const auto line = "cd '" + folder_.path() + "/my $repo' && " + command + " > /dev/null 2>&1";
    ASSERT_EQ(std::system(line.c_str()), 0) << command;
  }
  void make_repository() {
    files_.write_atomically(file("train.py"), "lr = 1\n");
    shell("git init -q && git add -A && git -c user.name=n -c user.email=e commit -q -m first");
  }
  std::string file(const std::string& name) {
    files_.make_directories(repository_);
    return repository_ + "/" + name;
  }

  base::FileSystem& files_ = base::FileSystem::posix();
  tests::TemporaryDirectory folder_;
  std::string repository_ = folder_.file("my $repo");
};

TEST_F(SourceVersionTest, IsUnknownOutsideOfARepository) {
  const auto version = source_version(folder_.path());

  EXPECT_EQ(version.commit, "unknown");
  EXPECT_FALSE(version.dirty);
  EXPECT_EQ(version.patch, "");
}

TEST_F(SourceVersionTest, IsUnknownWhereThereIsNoSuchDirectory) {
  EXPECT_EQ(source_version(folder_.file("none")).commit, "unknown");
}

TEST_F(SourceVersionTest, IsTheCommitOfACleanRepository) {
  make_repository();

  const auto version = source_version(repository_);

  EXPECT_THAT(version.commit, MatchesRegex("[0-9a-f]+"));
  EXPECT_GE(version.commit.size(), 40u);
  EXPECT_FALSE(version.dirty);
}

TEST_F(SourceVersionTest, HoldsTheChangesSinceTheCommit) {
  make_repository();
  files_.write_atomically(file("train.py"), "lr = 2\n");

  const auto version = source_version(repository_);

  EXPECT_TRUE(version.dirty);
  EXPECT_THAT(version.patch, HasSubstr("-lr = 1\n+lr = 2\n"));
  files_.write_atomically(folder_.file("dirty.patch"), version.patch);
  shell("git checkout -q -- train.py && git apply ../dirty.patch");
  EXPECT_EQ(files_.read_text(file("train.py")), "lr = 2\n");
}

TEST_F(SourceVersionTest, CutsALargePatchAt4MiB) {
  make_repository();
  std::string text;
  while (text.size() < (std::size_t{5} << 20)) text += "a line of many\n";
  files_.write_atomically(file("train.py"), text);

  EXPECT_EQ(source_version(repository_).patch.size(), std::size_t{4} << 20);
}

}  // namespace
}  // namespace lockstep::checkpoints
