#include "launcher/kept_memory.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

namespace lockstep::launcher {
namespace {

using Variables = std::map<std::string, std::string>;

Variables variables_of(const KeptMemory& memory) {
  return {{kKeptMemoryVariable, memory.addresses()}};
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

TEST(KeptMemory, HasAFileForEachNodeOfThisHost) {
  const auto memory = KeptMemory::here(2);
  const auto variables = variables_of(memory);

  const NodeKeptMemory first(variables, 0, true), same(variables, 0, false);
  const NodeKeptMemory second(variables, 1, true);

  EXPECT_NE(first.path(), "");
  EXPECT_EQ(same.path(), first.path());
  EXPECT_NE(second.path(), first.path());
  EXPECT_EQ(NodeKeptMemory(variables, 2, true).path(), "");
  EXPECT_EQ(NodeKeptMemory({}, 0, true).path(), "");
}

TEST(KeptMemory, OfNoNodeIsNone) {
  EXPECT_EQ(KeptMemory::here(0).addresses(), "");
  EXPECT_EQ(NodeKeptMemory(variables_of(KeptMemory::here(0)), 0, true).path(), "");
}

TEST(KeptMemory, OfOtherHostsIsMadeThereAndForgottenInTheEnd) {
  const auto variables = variables_of(KeptMemory::elsewhere());
  EXPECT_EQ(NodeKeptMemory(variables, 0, false).path(), "") << "its first rank has not made it yet";
  std::string path;
  {
    const NodeKeptMemory first(variables, 3, true), other_rank(variables, 3, false);
    path = first.path();
    EXPECT_EQ(other_rank.path(), path);
    ASSERT_EQ(truncate(path.c_str(), 5), 0);
  }
  EXPECT_TRUE(exists(path)) << "it went with the ranks";
  {
    const NodeKeptMemory again(variables, 3, true);
    struct stat status {};
    ASSERT_EQ(stat(again.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_size, 5) << "the next launch found another file";
  }
  forget_kept_memory(variables_of(KeptMemory::elsewhere()));
  EXPECT_TRUE(exists(path)) << "another run's ranks removed it";

  forget_kept_memory(variables);

  EXPECT_FALSE(exists(path));
}

TEST(KeptMemory, ThatNobodyCameBackForGoesWithALaterLaunch) {
  const auto lost = variables_of(KeptMemory::elsewhere());
  const auto used = variables_of(KeptMemory::elsewhere());
  const auto path = NodeKeptMemory(lost, 0, true).path();
  const NodeKeptMemory rank(used, 0, true);
  const timespec long_ago[2] = {{1, 0}, {1, 0}};
  for (const auto& each : {path, rank.path()}) {
    ASSERT_EQ(utimensat(AT_FDCWD, each.c_str(), long_ago, 0), 0);
  }

  const auto next = variables_of(KeptMemory::elsewhere());
  NodeKeptMemory(next, 0, true);

  EXPECT_FALSE(exists(path));
  EXPECT_TRUE(exists(rank.path())) << "a rank that lives has it";
  forget_kept_memory(used);
  forget_kept_memory(next);
}

/// A launch took the state of its own run for abandoned once, when the run was older than that.
TEST(KeptMemory, OfALongRunIsThereForItsNextLaunch) {
  const auto variables = variables_of(KeptMemory::elsewhere());
  const auto path = NodeKeptMemory(variables, 0, true).path();
  ASSERT_EQ(truncate(path.c_str(), 5), 0);
  const timespec long_ago[2] = {{1, 0}, {1, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), long_ago, 0), 0);

  const NodeKeptMemory next(variables, 0, true);

  struct stat status {};
  ASSERT_EQ(stat(next.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 5);
  EXPECT_GT(status.st_mtime, 1) << "another run's launch would take it for abandoned";
  forget_kept_memory(variables);
}

TEST(KeptMemory, OfNodesThatAreNoMoreGoes) {
  const auto variables = variables_of(KeptMemory::elsewhere());
  const auto lost = NodeKeptMemory(variables, 2, true).path();
  const NodeKeptMemory first(variables, 0, true), second(variables, 1, true);

  first.remove_strays();

  EXPECT_FALSE(exists(lost));
  EXPECT_TRUE(exists(first.path()) && exists(second.path()));
  forget_kept_memory(variables);
}

TEST(KeptMemory, IsNoPathThatAVariableNames) {
  EXPECT_EQ(NodeKeptMemory({{kKeptMemoryVariable, "@../tmp/x"}}, 0, true).path(), "");
  EXPECT_EQ(NodeKeptMemory({{kKeptMemoryVariable, "/etc/passwd"}}, 0, true).path(), "");
}

}  // namespace
}  // namespace lockstep::launcher
