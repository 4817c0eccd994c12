#include "base/file_system.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <thread>

#include "base/error.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::base {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using tests::TemporaryDirectory;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class PosixFileSystem : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_.file(name); }
  void write(const std::string& name, std::string_view text) {
    files_.open(path(name), OpenMode::kCreate)->append(text);
  }
  std::string read(const std::string& name) { return files_.read_text(path(name)); }

  TemporaryDirectory directory_;
  FileSystem& files_ = FileSystem::posix();
};

TEST_F(PosixFileSystem, ReadsBackWhatWasAppended) {
  const auto file = files_.open(path("a"), OpenMode::kCreate);

  file->append(std::string_view("one "));
  file->append(std::string_view("two"));
  file->sync();

  EXPECT_EQ(read("a"), "one two");
}

TEST_F(PosixFileSystem, WritesAtOffsetsAndFillsTheGapWithZeros) {
  const auto file = files_.open(path("a"), OpenMode::kCreate);

  file->write_at(4, bytes_of("late"));
  file->write_at(0, bytes_of("ab"));

  EXPECT_EQ(read("a"), std::string_view("ab\0\0late", 8));
}

TEST_F(PosixFileSystem, WritesThroughTheSameBytesHoweverMemoryAndFileLie) {
  // Aligned alike or not, with and without whole pages in the middle, over what is there.
  constexpr std::size_t kSpace = 8 * kDirectBytes;
  std::vector<std::byte> memory(kSpace + kDirectBytes);
  for (std::size_t i = 0; i < memory.size(); ++i)
    memory[i] = static_cast<std::byte>(i * 13 + i / 251);
  const auto misfit = reinterpret_cast<std::uintptr_t>(memory.data()) % kDirectBytes;
  const auto pages = std::span(memory).subspan((kDirectBytes - misfit) % kDirectBytes, kSpace);
  std::string wanted(kSpace, '.');
  write("a", wanted);
  const auto file = files_.open(path("a"), OpenMode::kExisting);

  for (const std::size_t from : {0u, 1u, 64u, 4095u, 4096u}) {
    for (const std::size_t offset : {from, from + kDirectBytes, std::size_t{100}}) {
      for (const std::size_t length : {0u, 1u, 4032u, 4096u, 9000u, 16384u}) {
        const auto bytes = pages.subspan(from, length);

        file->write_through(offset, bytes);

        for (std::size_t i = 0; i < length; ++i) wanted[offset + i] = static_cast<char>(bytes[i]);
        ASSERT_EQ(read("a"), wanted) << "from " << from << " to " << offset << ", " << length;
      }
    }
  }
  file->sync();
  EXPECT_EQ(read("a"), wanted);
}

TEST_F(PosixFileSystem, ReservesAFileOfZerosAndKeepsWhatIsThere) {
  write("a", "ab");
  const auto file = files_.open(path("a"), OpenMode::kExisting);

  file->reserve(10000);

  EXPECT_EQ(read("a"), "ab" + std::string(9998, '\0'));
  struct stat status {};
  ASSERT_EQ(::stat(path("a").c_str(), &status), 0);
  EXPECT_GE(status.st_blocks * 512, 10000) << "its room was not taken";
  EXPECT_NO_THROW(files_.open(path("b"), OpenMode::kCreate)->reserve(0));
}

TEST_F(PosixFileSystem, EmptiesAFileOpenedToCreateAndKeepsOneOpenedAsExisting) {
  write("a", "before");
  files_.open(path("a"), OpenMode::kExisting)->write_at(0, bytes_of("B"));
  EXPECT_EQ(read("a"), "Before");

  files_.open(path("a"), OpenMode::kCreate);

  EXPECT_EQ(read("a"), "");
}

TEST_F(PosixFileSystem, AddsAtTheEndOfAFileOpenedToAppend) {
  files_.open(path("a"), OpenMode::kAppend)->append(std::string_view("one "));
  files_.open(path("a"), OpenMode::kAppend)->append(std::string_view("two"));

  EXPECT_EQ(read("a"), "one two");
}

TEST_F(PosixFileSystem, CutsAndLengthensByTruncate) {
  write("a", "abcdef");
  const auto file = files_.open(path("a"), OpenMode::kExisting);

  file->truncate(3);
  EXPECT_EQ(read("a"), "abc");
  file->truncate(5);

  EXPECT_EQ(read("a"), std::string_view("abc\0\0", 5));
}

TEST_F(PosixFileSystem, NamesTheMissingFileThatIsToBeOpened) {
  try {
    files_.open(path("absent"), OpenMode::kExisting);
    FAIL() << "not refused";
  } catch (const IoError& error) {
    EXPECT_EQ(error.error_number(), ENOENT);
    EXPECT_EQ(error.what(), "opening '" + path("absent") +
                                "' failed (No such file or directory); check the path");
  }
}

TEST_F(PosixFileSystem, SaysThatTheDiskIsFull) {
  const auto file = files_.open("/dev/full", OpenMode::kExisting);
  try {
    file->append(std::string_view("x"));
    FAIL() << "not refused";
  } catch (const IoError& error) {
    EXPECT_EQ(error.error_number(), ENOSPC);
    EXPECT_STREQ(error.what(),
                 "writing '/dev/full' failed (No space left on device); free space there or name "
                 "another directory");
  }
}

TEST_F(PosixFileSystem, ReadsARangeOfAFile) {
  write("a", "abcdef");
  std::string middle(3, '\0');

  files_.read_at(path("a"), 2, std::as_writable_bytes(std::span(middle)));

  EXPECT_EQ(middle, "cde");
}

TEST_F(PosixFileSystem, SaysWhereAFileEndsThatIsTooShort) {
  write("a", "abc");
  std::string wanted(5, '\0');
  try {
    files_.read_at(path("a"), 1, std::as_writable_bytes(std::span(wanted)));
    FAIL() << "not refused";
  } catch (const IoError& error) {
    EXPECT_EQ(error.what(), "file '" + path("a") +
                                "' ends at byte 3, 3 more are needed (file truncated); restore it "
                                "from a copy");
  }
}

TEST_F(PosixFileSystem, KnowsSizesOfFilesOnly) {
  write("a", "abc");

  EXPECT_EQ(files_.file_size(path("a")), 3U);
  EXPECT_FALSE(files_.file_size(path("absent")).has_value());
  EXPECT_FALSE(files_.file_size(path("a/below-a-file")).has_value());
  EXPECT_FALSE(files_.file_size(directory_.path()).has_value());
  EXPECT_TRUE(files_.exists(path("a")));
  EXPECT_TRUE(files_.exists(directory_.path()));
  EXPECT_FALSE(files_.exists(path("absent")));
}

TEST_F(PosixFileSystem, ReadsTextOfFilesOnly) {
  EXPECT_THROW(files_.read_text(path("absent")), IoError);
  try {
    files_.read_text(directory_.path());
    FAIL() << "not refused";
  } catch (const IoError& error) {
    EXPECT_EQ(error.error_number(), EISDIR);
  }
}

TEST_F(PosixFileSystem, ListsNamesInOrder) {
  write("b", "");
  write("a", "");
  files_.make_directories(path("c"));

  EXPECT_THAT(files_.list(directory_.path()), ElementsAre("a", "b", "c"));
  EXPECT_THAT(files_.list(path("absent")), IsEmpty());
}

TEST_F(PosixFileSystem, MakesADirectoryWithItsParentsTwice) {
  files_.make_directories(path("x/y/z"));
  files_.make_directories(path("x/y/z"));

  EXPECT_TRUE(files_.is_directory(path("x/y/z")));
}

TEST_F(PosixFileSystem, RefusesADirectoryBelowAFile) {
  write("a", "");
  try {
    files_.make_directories(path("a/b"));
    FAIL() << "not refused";
  } catch (const IoError& error) {
    EXPECT_EQ(error.error_number(), ENOTDIR);
    EXPECT_THAT(error.what(), testing::HasSubstr(path("a/b")));
  }
}

TEST_F(PosixFileSystem, ReplacesTheTargetOfARename) {
  write("old", "new text");
  write("target", "former text");

  files_.rename(path("old"), path("target"));
  files_.sync_directory(directory_.path());

  EXPECT_EQ(read("target"), "new text");
  EXPECT_FALSE(files_.exists(path("old")));
}

TEST_F(PosixFileSystem, RemovesATreeAndDoesNotMindThatItIsGone) {
  files_.make_directories(path("x/y"));
  write("x/y/a", "text");

  files_.remove_all(path("x"));
  files_.remove_all(path("x"));

  EXPECT_FALSE(files_.exists(path("x")));
}

TEST_F(PosixFileSystem, RemovesALinkAndLeavesWhatItPointsAt) {
  files_.make_directories(path("kept"));
  write("kept/a", "text");
  files_.replace_link("kept", path("link"));

  files_.remove_all(path("link"));

  EXPECT_EQ(read("kept/a"), "text");
}

TEST_F(PosixFileSystem, PointsALinkAtAnotherTarget) {
  write("first", "1");
  write("second", "2");
  files_.replace_link("first", path("latest"));
  EXPECT_EQ(read("latest"), "1");

  files_.replace_link("second", path("latest"));

  EXPECT_EQ(read("latest"), "2");
  EXPECT_THAT(files_.list(directory_.path()), ElementsAre("first", "latest", "second"));
}

TEST_F(PosixFileSystem, LeavesNoStrayLinkWhereTheNameIsADirectory) {
  files_.make_directories(path("latest/full"));

  EXPECT_THROW(files_.replace_link("first", path("latest")), IoError);

  EXPECT_THAT(files_.list(directory_.path()), ElementsAre("latest"));
}

TEST_F(PosixFileSystem, KnowsFreeBytes) {
  EXPECT_GT(files_.free_bytes(directory_.path()), 0U);
  EXPECT_THROW(files_.free_bytes(path("absent")), IoError);
}

TEST_F(PosixFileSystem, WritesAtomicallyAndLeavesOnlyTheFile) {
  files_.write_atomically(path("a"), "first");
  files_.write_atomically(path("a"), "second");

  EXPECT_EQ(read("a"), "second");
  EXPECT_THAT(files_.list(directory_.path()), ElementsAre("a"));
}

// A failed write left its temporary file beside the target.
TEST_F(PosixFileSystem, LeavesNoTemporaryFileWhenAnAtomicWriteFails) {
  files_.make_directories(path("a/full"));

  EXPECT_THROW(files_.write_atomically(path("a"), "text"), IoError);

  EXPECT_THAT(files_.list(directory_.path()), ElementsAre("a"));
}

// Threads of one process shared the name of the temporary file.
TEST_F(PosixFileSystem, ShowsAReaderOneOfTheTextsWhileManyThreadsWrite) {
  const std::string first(100'000, '1');
  const std::string second(50'000, '2');
  files_.write_atomically(path("a"), first);
  {
    const auto write_often = [&](const std::string& text) {
      for (int i = 0; i < 20; ++i) files_.write_atomically(path("a"), text);
    };
    const std::jthread one(write_often, first);
    const std::jthread two(write_often, second);
    for (int i = 0; i < 200; ++i) {
      struct stat status {};
      ASSERT_EQ(::stat(path("a").c_str(), &status), 0);
      EXPECT_TRUE(status.st_size == 100'000 || status.st_size == 50'000) << status.st_size;
    }
  }

  EXPECT_THAT(files_.list(directory_.path()), ElementsAre("a"));
  const auto text = read("a");
  EXPECT_TRUE(text == first || text == second);
}

TEST(JoinPath, PutsOneSlashBetween) {
  EXPECT_EQ(join_path("runs", "a"), "runs/a");
  EXPECT_EQ(join_path("runs/", "a"), "runs/a");
  EXPECT_EQ(join_path("", "a"), "a");
  EXPECT_EQ(join_path("runs", "/tmp/a"), "/tmp/a");
}

TEST(ParentPath, OfAPlainNameIsHere) {
  EXPECT_EQ(parent_path("a"), ".");
  EXPECT_EQ(parent_path("runs/a"), "runs");
  EXPECT_EQ(parent_path("/a"), "/");
}

TEST(AbsolutePath, HasNoDotsLeft) {
  EXPECT_EQ(absolute_path("/a/./b/../c"), "/a/c");
  EXPECT_EQ(absolute_path("a"), std::filesystem::current_path().string() + "/a");
}

}  // namespace
}  // namespace lockstep::base
