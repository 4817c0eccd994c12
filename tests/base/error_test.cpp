#include "base/error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <exception>
#include <set>
#include <utility>

namespace lockstep::base {
namespace {

TEST(Error, CarriesTheExitCodeOfItsKind) {
  EXPECT_EQ(ConfigError("m").code(), ExitCode::kUsage);
  EXPECT_EQ(DataError("m").code(), ExitCode::kData);
  EXPECT_EQ(CheckpointError("m").code(), ExitCode::kCheckpoint);
  EXPECT_EQ(IoError("m", ENOSPC).code(), ExitCode::kEnvironment);
  EXPECT_EQ(EnvironmentError("m").code(), ExitCode::kEnvironment);
  EXPECT_EQ(DeviceError("m").code(), ExitCode::kEnvironment);
  EXPECT_EQ(CommError("m").code(), ExitCode::kFailed);
  EXPECT_EQ(TimeoutError("m").code(), ExitCode::kFailed);
  EXPECT_EQ(DivergenceError("m").code(), ExitCode::kDiverged);
  EXPECT_EQ(InternalError("m").code(), ExitCode::kFailed);
}

TEST(Error, OfACollectiveKeepsTheCodeOfTheRankThatFailedFirst) {
  EXPECT_EQ(CommError("rank 3 failed", ExitCode::kData).code(), ExitCode::kData);
}

TEST(Error, OfTheFileSystemKeepsErrno) {
  EXPECT_EQ(IoError("disk full", ENOSPC).error_number(), ENOSPC);
}

TEST(Error, KeepsItsKindWhenItMovesToAnotherThread) {
  const auto stored = std::make_exception_ptr(DataError("row 3 is torn"));

  EXPECT_THROW(
      {
        try {
          std::rethrow_exception(stored);
        } catch (const Error& error) {
          EXPECT_STREQ(error.what(), "row 3 is torn");
          EXPECT_EQ(error.code(), ExitCode::kData);
          throw;
        }
      },
      DataError);
}

TEST(ExitCode, HasTheNumbersThatScriptsRelyOn) {
  EXPECT_EQ(static_cast<int>(ExitCode::kDone), 0);
  EXPECT_EQ(static_cast<int>(ExitCode::kFailed), 1);
  EXPECT_EQ(static_cast<int>(ExitCode::kUsage), 2);
  EXPECT_EQ(static_cast<int>(ExitCode::kData), 3);
  EXPECT_EQ(static_cast<int>(ExitCode::kEnvironment), 4);
  EXPECT_EQ(static_cast<int>(ExitCode::kDiverged), 5);
  EXPECT_EQ(static_cast<int>(ExitCode::kCheckpoint), 6);
  EXPECT_EQ(static_cast<int>(ExitCode::kGate), 7);
  EXPECT_EQ(static_cast<int>(ExitCode::kRestarts), 8);
  EXPECT_EQ(static_cast<int>(ExitCode::kStopped), 75);
  EXPECT_EQ(static_cast<int>(ExitCode::kWallLimit), 124);
  EXPECT_EQ(static_cast<int>(ExitCode::kInterrupted), 130);
  EXPECT_EQ(static_cast<int>(ExitCode::kTerminated), 143);
}

TEST(ExitCode, IsDescribedByALineOfItsOwn) {
  std::set<std::string> lines;
  for (const int code : {0, 1, 2, 3, 4, 5, 6, 7, 8, 75, 124, 130, 143}) {
    const std::string line = describe(static_cast<ExitCode>(code));
    EXPECT_NE(line, "unknown exit code") << code;
    EXPECT_TRUE(lines.insert(line).second) << line;
  }
  EXPECT_STREQ(describe(static_cast<ExitCode>(99)), "unknown exit code");
}

TEST(Expect, PassesWhenTheConditionHolds) {
  EXPECT_NO_THROW(LOCKSTEP_EXPECT(1 + 1 == 2, "arithmetic"));
}

TEST(Expect, NamesConditionAndPlaceAndAsksForAReport) {
  const int ranks = 0;
  try {
    LOCKSTEP_EXPECT(ranks > 0, "group of " + std::to_string(ranks) + " ranks");
    FAIL() << "not refused";
  } catch (const InternalError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("group of 0 ranks (ranks > 0 is false at "));
    EXPECT_THAT(error.what(), testing::HasSubstr("error_test.cpp:"));
    EXPECT_THAT(error.what(), testing::EndsWith("); report this bug"));
  }
}

TEST(Expect, EvaluatesItsConditionOnce) {
  int calls = 0;

  LOCKSTEP_EXPECT(++calls == 1, "counted");

  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace lockstep::base
