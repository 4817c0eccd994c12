// `drill` with a shell script as the worker: what it does with an installation that does not work.
// That the drills pass on one that does is tests/drills.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/launcher/program.hpp"

namespace lockstep::launcher {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class DrillCommandLine : public testing::Test {
 protected:
  Answer drill(std::vector<std::string> words) const {
    words.insert(words.begin(), {"drill", "--directory", "labs", "--ranks", "1"});
    return lockstep_.run(words);
  }
  int labs() const {
    int count = 0;
    std::error_code none;
    for (auto i = std::filesystem::directory_iterator(lockstep_.path("labs"), none);
         i != std::filesystem::directory_iterator(); ++i) {
      ++count;
    }
    return count;
  }

  Program lockstep_;
};

TEST_F(DrillCommandLine, ListsTheDrillsAndRunsNone) {
  const auto answer = drill({"--list"});
  EXPECT_EQ(answer.exit_code, 0);
  EXPECT_THAT(answer.output, AllOf(HasSubstr("kill-step"), HasSubstr("flipped-byte")));
  EXPECT_EQ(labs(), 0);

  const auto json = nlohmann::json::parse(drill({"--list", "--json", "freeze"}).output);
  ASSERT_EQ(json.size(), 1u);
  EXPECT_EQ(json[0]["name"], "freeze");
}

TEST_F(DrillCommandLine, RefusesADrillThatThereIsNot) {
  const auto answer = drill({"kill-setp"});
  EXPECT_EQ(answer.exit_code, 2);
  EXPECT_THAT(answer.errors, HasSubstr("did you mean 'kill-step'?"));
  EXPECT_EQ(labs(), 0);
}

TEST_F(DrillCommandLine, FailsAndBreaksNothingWhereNoRunWorks) {
  lockstep_.set_worker("echo 'the worker is broken' >&2; exit 4");

  const auto answer = drill({"kill-step"});

  EXPECT_EQ(answer.exit_code, 7);
  EXPECT_THAT(answer.output, AllOf(HasSubstr("undisturbed  FAILED"),
                                   HasSubstr("'lockstep train' ended with exit code 4, not 0"),
                                   Not(HasSubstr("\nkill-step")), HasSubstr("1 of 1 failed")));
  EXPECT_THAT(answer.errors, HasSubstr("lockstep doctor"));
  EXPECT_EQ(labs(), 1) << "the files of a failure are kept";
}

TEST_F(DrillCommandLine, EndsALaunchThatHangsAndSaysWhatItWaitedFor) {
  lockstep_.set_worker("exec sleep 1000");

  const auto answer = drill({"kill-step", "--patience", "1", "--json"});

  EXPECT_EQ(answer.exit_code, 7) << answer.errors;
  const auto json = nlohmann::json::parse(answer.output);
  EXPECT_EQ(json["passed"], false);
  EXPECT_EQ(json["drills"][0]["problems"][0], "'lockstep train' was not done after 1.0s");
  EXPECT_EQ(json["drills"][0]["problems"].size(), 1u) << "nothing may be left behind";
}

TEST_F(DrillCommandLine, NamesTheFolderThatCannotBeMade) {
  lockstep_.set_worker("exit 0");
  lockstep_.write("labs", "a file");
  const auto answer = drill({});
  EXPECT_EQ(answer.exit_code, 4);
  EXPECT_THAT(answer.errors, HasSubstr("labs"));
}

}  // namespace
}  // namespace lockstep::launcher
