#include "base/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::base {
namespace {

using tests::TemporaryDirectory;

std::vector<nlohmann::json> read_lines(const std::string& path) {
  std::istringstream text(FileSystem::posix().read_text(path));
  std::vector<nlohmann::json> entries;
  for (std::string line; std::getline(text, line);) entries.push_back(nlohmann::json::parse(line));
  return entries;
}

TEST(Log, PutsALineOnStandardErrorWithItsPrefixAndLevel) {
  Log log({.prefix = "rank 3: "});
  testing::internal::CaptureStderr();

  log.info("step 12");
  log.warning("disk is nearly full");
  log.error("disk is full");

  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "rank 3: step 12\n"
            "rank 3: warning: disk is nearly full\n"
            "rank 3: error: disk is full\n");
}

TEST(Log, KeepsLinesBelowTheTerminalLevelOffTheTerminalButNotOffTheFile) {
  const TemporaryDirectory directory;
  Log log({.terminal_level = LogLevel::kError, .json_path = directory.file("log.jsonl")});
  testing::internal::CaptureStderr();

  log.debug("a detail");
  log.warning("a warning");

  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(read_lines(directory.file("log.jsonl")).size(), 2U);
}

TEST(Log, WritesOneJsonObjectALine) {
  const TemporaryDirectory directory;
  Log log({.terminal_level = LogLevel::kError,
           .json_path = directory.file("log.jsonl"),
           .rank = 7,
           .host = "node-a"});

  log.info("a \"quoted\" text\nof two lines");

  const auto entries = read_lines(directory.file("log.jsonl"));
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0]["level"], "info");
  EXPECT_EQ(entries[0]["rank"], 7);
  EXPECT_EQ(entries[0]["host"], "node-a");
  EXPECT_EQ(entries[0]["message"], "a \"quoted\" text\nof two lines");
  EXPECT_TRUE(std::regex_match(entries[0]["time"].get<std::string>(),
                               std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)")));
}

TEST(Log, ReplacesBytesThatAreNotUtf8SoThatTheLineStaysJson) {
  const TemporaryDirectory directory;
  Log log({.terminal_level = LogLevel::kError, .json_path = directory.file("log.jsonl")});

  log.info("torn \xff\xc3 name");

  const auto entries = read_lines(directory.file("log.jsonl"));
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0]["message"], "torn \xef\xbf\xbd\xef\xbf\xbd name");
}

TEST(Log, AddsToAFileThatExists) {
  const TemporaryDirectory directory;
  for (const char* text : {"before the restart", "after it"}) {
    Log log({.terminal_level = LogLevel::kError, .json_path = directory.file("log.jsonl")});
    log.info(text);
  }

  const auto entries = read_lines(directory.file("log.jsonl"));

  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0]["message"], "before the restart");
  EXPECT_EQ(entries[1]["message"], "after it");
}

TEST(Log, StartsTheFileWhenItIsOpenedLater) {
  const TemporaryDirectory directory;
  Log log({.terminal_level = LogLevel::kError});
  log.info("too early");

  log.open_json(directory.file("log.jsonl"));
  log.info("in time");

  const auto entries = read_lines(directory.file("log.jsonl"));
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0]["message"], "in time");
}

TEST(Log, RefusesAFileItCannotOpen) {
  const TemporaryDirectory directory;
  Log log;

  EXPECT_THROW(log.open_json(directory.file("absent/log.jsonl")), IoError);
}

TEST(Log, GoesOnWithoutItsFileWhenTheDiskIsFullAndSaysSoOnce) {
  Log log({.terminal_level = LogLevel::kError, .json_path = "/dev/full"});
  testing::internal::CaptureStderr();

  log.info("first");
  log.info("second");

  const auto terminal = testing::internal::GetCapturedStderr();
  EXPECT_THAT(terminal, testing::StartsWith("warning: log file closed: writing '/dev/full' failed "
                                            "(No space left on device)"));
  EXPECT_EQ(std::count(terminal.begin(), terminal.end(), '\n'), 1);
}

TEST(Log, KeepsLinesOfManyThreadsWhole) {
  constexpr int kThreads = 4;
  constexpr int kLines = 200;
  const TemporaryDirectory directory;
  {
    Log log({.terminal_level = LogLevel::kError, .json_path = directory.file("log.jsonl")});
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&log] {
        for (int line = 0; line < kLines; ++line) log.info(std::string(300, 'x'));
      });
    }
  }

  const auto entries = read_lines(directory.file("log.jsonl"));

  EXPECT_EQ(entries.size(), static_cast<std::size_t>(kThreads * kLines));
}

}  // namespace
}  // namespace lockstep::base
