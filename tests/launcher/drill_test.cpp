#include "launcher/drills/drill.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <set>

#include "base/error.hpp"
#include "base/fault.hpp"

namespace lockstep::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names_of(const std::vector<Drill>& drills) {
  std::vector<std::string> names;
  for (const auto& drill : drills) names.push_back(drill.name);
  return names;
}

std::string refusal(const std::vector<std::string>& names) {
  try {
    choose_drills(all_drills(2), names);
  } catch (const base::ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Drill, StrikesRanksThatThereAreAndStepsThatTheRunHas) {
  for (const int ranks : {1, 2, 5, kMostDrillRanks}) {
    for (const auto& drill : all_drills(ranks)) {
      for (const auto& launch : drill.launches) {
        const auto plan = base::FaultPlan::parse(launch.fault);
        for (const auto& fault : plan.faults()) {
          EXPECT_GE(fault.rank, 0) << drill.name;
          EXPECT_LT(fault.rank, ranks) << drill.name;
          EXPECT_LE(fault.step, kDrillSteps) << drill.name;
          const bool at_evaluation =
              fault.phase == base::Phase::kSave || fault.phase == base::Phase::kEvaluation;
          if (at_evaluation) {
            EXPECT_EQ(fault.step % kDrillEvaluateEvery, 0) << drill.name;
          }
        }
        EXPECT_GE(launch.ranks, 1) << drill.name;
        EXPECT_LE(launch.ranks, kMostDrillRanks) << drill.name;
      }
    }
  }
}

TEST(Drill, HasANameOfItsOwnAndBreaksSomething) {
  const auto drills = all_drills(2);
  const auto names = names_of(drills);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  for (const auto& drill : drills) {
    EXPECT_FALSE(drill.summary.empty()) << drill.name;
    const auto& first = drill.launches.at(0);
    EXPECT_TRUE(!first.fault.empty() || !first.overrides.empty()) << drill.name;
  }
}

TEST(Drill, OfAWholeNodeKillsEveryRank) {
  const auto drills = choose_drills(all_drills(4), std::vector<std::string>{"kill-node"});

  std::set<int> ranks;
  const auto plan = base::FaultPlan::parse(drills.at(0).launches.at(0).fault);
  for (const auto& fault : plan.faults()) {
    EXPECT_EQ(fault.kind, base::Fault::Kind::kKill);
    ranks.insert(fault.rank);
  }
  EXPECT_THAT(ranks, ElementsAre(0, 1, 2, 3));
}

TEST(Drill, ResumesOnAnotherNumberOfRanksAfterAStop) {
  for (const int ranks : {1, 2, 5}) {
    const auto drill =
        choose_drills(all_drills(ranks), std::vector<std::string>{"stop-while-saving"}).at(0);
    EXPECT_EQ(drill.launches.at(0).signal->number, SIGTERM);
    EXPECT_EQ(drill.launches.at(0).exit_code, 75);
    EXPECT_NE(drill.launches.at(1).ranks, ranks);
  }
}

TEST(Drill, IsChosenByNameInTheTablesOrder) {
  EXPECT_THAT(names_of(choose_drills(all_drills(2),
                                     std::vector<std::string>{"freeze", "kill-step", "freeze"})),
              ElementsAre("kill-step", "freeze"));
  EXPECT_EQ(choose_drills(all_drills(2), {}).size(), all_drills(2).size());
}

TEST(Drill, OfAnUnknownNameIsRefusedWithTheNearest) {
  EXPECT_THAT(refusal({"kill-stpe"}), HasSubstr("did you mean 'kill-step'?"));
  EXPECT_THAT(refusal({"earthquake"}), HasSubstr("name one of them"));
}

}  // namespace
}  // namespace lockstep::launcher
