#include "configs/overrides.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/configs/reading.hpp"

namespace lockstep::configs {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Overrides, SetAKnobWhetherOrNotTheFileHasIt) {
  const auto loaded = read_small({"train.epochs=7", "train.optimizer.lr=1e-2"});

  EXPECT_EQ(loaded.config.train.epochs, 7);
  EXPECT_EQ(loaded.config.train.optimizer.lr, 0.01);
}

TEST(Overrides, LetTheLastOneWin) {
  EXPECT_EQ(read_small({"train.epochs=7", "train.epochs=9"}).config.train.epochs, 9);
}

TEST(Overrides, AreParsedAsYaml) {
  const auto config = read_small({"model.hidden=[3, 4]", "data.test='a b'",
                                  "train.optimizer={name: sgd, momentum: 0.5}"})
                          .config;

  EXPECT_EQ(config.model.hidden, (std::vector<std::int64_t>{3, 4}));
  EXPECT_THAT(config.data.test, ElementsAre("a b"));
  EXPECT_EQ(config.train.optimizer.name, "sgd");
  EXPECT_EQ(config.train.optimizer.momentum, 0.5);
}

TEST(Overrides, MergeAMappingIntoItsSection) {
  const auto config = read_small({"train={epochs: 5}"}).config;

  EXPECT_EQ(config.train.epochs, 5);
  EXPECT_EQ(config.train.global_batch, 8);
}

TEST(Overrides, SetAnEmptyTextWhenNothingFollowsTheSign) {
  EXPECT_THAT(read_small({"data.test=b.h5", "data.test="}).config.data.test, IsEmpty());
}

TEST(Overrides, KeepEqualsSignsAndHashesOfAValue) {
  EXPECT_THAT(read_small({"data.test=a=b#c"}).config.data.test, ElementsAre("a=b#c"));
}

TEST(Overrides, AddOnlyWhatIsNotSetYet) {
  EXPECT_EQ(read_small({"+train.seed=4"}).config.train.seed, 4);
  EXPECT_EQ(only_problem(problems_of_small({"+train.epochs=4"})),
            "'train.epochs' is already set (exp.yaml:4), so it cannot be added | "
            "remove the '+' to replace it");
  EXPECT_EQ(only_problem(problems_of_small({"train.seed=3", "+train.seed=4"})),
            "'train.seed' is already set (override 'train.seed=3'), so it cannot be added | "
            "remove the '+' to replace it");
}

TEST(Overrides, DeleteBackToTheDefault) {
  const auto config = read_small({"~train.epochs", "train.steps=3"}).config;

  EXPECT_EQ(config.train.epochs, 0);
  EXPECT_EQ(config.train.steps, 3);
}

TEST(Overrides, RefuseToDeleteWhatIsNotSet) {
  EXPECT_EQ(only_problem(problems_of_small({"~train.seed"})),
            "'train.seed' is not set, so it cannot be deleted | remove this override");
}

TEST(Overrides, NameTheKnobThatWasMeant) {
  EXPECT_EQ(only_problem(problems_of_small({"train.lr=1"})),
            "unknown key 'train.lr' | did you mean 'train.optimizer.lr'?");
  EXPECT_EQ(only_problem(problems_of_small({"train.epoch=1"})),
            "unknown key 'train.epoch' | did you mean 'train.epochs'?");
  EXPECT_EQ(only_problem(problems_of_small({"epochs=1"})),
            "unknown key 'epochs' | did you mean 'train.epochs'?");
  EXPECT_EQ(only_problem(problems_of_small({"zzzzzz=1"})),
            "unknown key 'zzzzzz' | 'lockstep config reference' lists all keys");
}

TEST(Overrides, SayWhatIsWrongWithTheirForm) {
  EXPECT_EQ(only_problem(problems_of_small({"train.seed"})),
            "override 'train.seed' has no value | "
            "write train.seed=value, or ~train.seed for the default");
  EXPECT_EQ(only_problem(problems_of_small({"~train.epochs=1"})),
            "an override that deletes has a value | write ~train.epochs");
  EXPECT_EQ(only_problem(problems_of_small({"=1"})),
            "an override has no key | 'lockstep config reference' lists all keys");
  EXPECT_EQ(only_problem(problems_of_small({""})),
            "an override has no key | 'lockstep config reference' lists all keys");
}

TEST(Overrides, PointAtTheirOwnText) {
  const auto found = problems_of_small({"train.optimizer={lr: -1}"});

  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(render(found, false),
            "error: train.optimizer.lr is '-1' (above 0 is allowed)\n"
            "  --> command line:1:22\n"
            "   |\n"
            " 1 | train.optimizer={lr: -1}\n"
            "   |                      ^^\n");
}

TEST(Overrides, ReportBrokenYamlWithItsPlace) {
  const auto found = problems_of_small({"model.hidden=[1"});

  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].message, "this is not valid YAML (flow sequence without a closing bracket)");
  EXPECT_EQ(found[0].file, "command line");
}

TEST(Overrides, AreRefusedWhenTheyAreNoText) {
  const auto found = problems_of_small({std::string("data.test=\xff")});

  EXPECT_EQ(found.size(), 1u);
}

}  // namespace
}  // namespace lockstep::configs
