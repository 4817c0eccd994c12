#include "tests/support/fault_file_system.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "base/error.hpp"

namespace lockstep::tests {
namespace {

using base::OpenMode;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(FaultFileSystem, LosesDataThatWasNotSynced) {
  FaultFileSystem files;
  files.put("/a/x", "old");
  const auto x = files.open("/a/x", OpenMode::kAppend);
  x->append(std::string_view(" synced"));
  x->sync();
  x->append(std::string_view(" lost"));

  files.restart(Unsynced::kLost);

  EXPECT_EQ(files.read_text("/a/x"), "old synced");
}

TEST(FaultFileSystem, LosesNamesOfADirectoryThatWasNotSynced) {
  FaultFileSystem files;
  files.put("/a/x", "x");
  files.rename("/a/x", "/a/y");
  const auto z = files.open("/a/z", OpenMode::kCreate);
  z->sync();

  files.restart(Unsynced::kLost);
  EXPECT_THAT(files.list("/a"), ElementsAre("x"));

  files.rename("/a/x", "/a/y");
  files.sync_directory("/a");
  files.restart(Unsynced::kLost);
  EXPECT_THAT(files.list("/a"), ElementsAre("y"));
}

TEST(FaultFileSystem, KeepsEverythingWhenOnlyTheProcessDied) {
  FaultFileSystem files;
  files.make_directories("/a");
  files.open("/a/x", OpenMode::kCreate)->append(std::string_view("text"));

  files.restart(Unsynced::kKept);

  EXPECT_EQ(files.read_text("/a/x"), "text");
}

TEST(FaultFileSystem, KeepsTheFirstFewChangesOfADirectory) {
  bool none = false;
  bool first = false;
  bool both = false;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    FaultFileSystem files;
    files.put("/a/x", "x");
    files.rename("/a/x", "/a/y");
    files.rename("/a/y", "/a/z");
    files.restart(Unsynced::kPartial, seed);
    const auto names = files.list("/a");
    ASSERT_EQ(names.size(), 1u);
    none = none || names[0] == "x";
    first = first || names[0] == "y";
    both = both || names[0] == "z";
  }
  EXPECT_TRUE(none && first && both);
}

TEST(FaultFileSystem, TearsTheWriteAtWhichThePowerIsCut) {
  FaultFileSystem files;
  files.put("/x", "");
  const auto x = files.open("/x", OpenMode::kExisting);
  files.cut_power_at(files.changes() + 1);

  EXPECT_THROW(x->append(std::string_view("12345678")), PowerCut);
  EXPECT_THROW(files.list("/"), PowerCut);

  files.restart(Unsynced::kKept);
  EXPECT_EQ(files.read_text("/x"), "1234");
}

TEST(FaultFileSystem, FailsTheNthChangeOnce) {
  FaultFileSystem files;
  files.put("/x", "text");
  files.fail_at(files.changes() + 1, EIO);

  EXPECT_THROW(files.remove_all("/x"), base::IoError);
  EXPECT_TRUE(files.exists("/x"));
  files.remove_all("/x");
  EXPECT_FALSE(files.exists("/x"));
}

TEST(FaultFileSystem, WritesWhatFitsOnAFullDisk) {
  FaultFileSystem files;
  files.put("/x", "");
  files.fill_after(3);

  EXPECT_THROW(files.open("/x", OpenMode::kAppend)->append(std::string_view("12345")),
               base::IoError);

  EXPECT_EQ(files.read_text("/x"), "123");
}

TEST(FaultFileSystem, FollowsLinksAndReplacesThem) {
  FaultFileSystem files;
  files.put("/runs/a/x", "1");
  files.put("/runs/b/x", "2");
  files.replace_link("a", "/runs/latest");
  EXPECT_EQ(files.read_text("/runs/latest/x"), "1");
  files.replace_link("b", "/runs/latest");
  EXPECT_EQ(files.read_text("/runs/latest/x"), "2");
}

TEST(FaultFileSystem, WritesAtomicallyThroughTheBaseClass) {
  FaultFileSystem files;
  files.put("/a/x", "old");
  files.write_atomically("/a/x", "new");

  files.restart(Unsynced::kLost);

  EXPECT_EQ(files.read_text("/a/x"), "new");
  EXPECT_THAT(files.all_files(), ElementsAre("/a/x"));
}

TEST(FaultFileSystem, RemovesNothingWhereThereIsNothing) {
  FaultFileSystem files;
  files.remove_all("/a/b/c");
  EXPECT_THAT(files.all_files(), IsEmpty());
}

}  // namespace
}  // namespace lockstep::tests
