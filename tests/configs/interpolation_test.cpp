#include "configs/interpolation.hpp"

#include <gtest/gtest.h>

#include "tests/configs/reading.hpp"

namespace lockstep::configs {
namespace {

LoadedConfig read_more(const std::string& more, std::map<std::string, std::string> variables = {}) {
  return read_text(kSmall + more, {.overrides = {}, .environment = std::move(variables)});
}

std::vector<Diagnostic> problems_of_more(const std::string& more,
                                         std::map<std::string, std::string> variables = {}) {
  return problems_of(kSmall + more, {.overrides = {}, .environment = std::move(variables)});
}

TEST(Interpolation, PutsAVariableIntoAText) {
  const auto loaded = read_more("run: {name: \"a-${env:JOB}-b\"}\n", {{"JOB", "17"}});

  EXPECT_EQ(loaded.config.run.name, "a-17-b");
}

TEST(Interpolation, TakesTheDefaultOfAnUnsetVariable) {
  EXPECT_EQ(read_more("run: {name: \"${env:JOB, none}\"}\n").config.run.name, "none");
  EXPECT_EQ(read_more("run: {name: \"${env:JOB,a,b}\"}\n").config.run.name, "a,b");
  EXPECT_EQ(read_more("run: {name: \"${env:JOB,}\"}\n").config.run.name, "");
}

TEST(Interpolation, GivesNumbersToNumericKnobsEvenFromQuotes) {
  const auto loaded = read_more("compute: {threads: \"${env:THREADS,2}\"}\n", {{"THREADS", "3"}});

  EXPECT_EQ(loaded.config.compute.threads, 3);
  EXPECT_EQ(loaded.origins.at("compute.threads").kind, Origin::Kind::kEnvironment);
}

TEST(Interpolation, NestsInDefaults) {
  EXPECT_EQ(read_more("run:\n  name: ${env:A,${env:B,last}}\n", {{"B", "second"}}).config.run.name,
            "second");
}

TEST(Interpolation, RefersToAnotherKnob) {
  const auto config = read_more("run: {name: \"${model.name}-${train.global_batch}\"}\n").config;

  EXPECT_EQ(config.run.name, "mlp-8");
}

TEST(Interpolation, FollowsReferencesInAnyOrderOfTheFile) {
  const auto config = read_more(
                          "run: {name: \"${model.name}\"}\ncompute: {device: cpu}\n"
                          "evaluate: {batch: \"${train.global_batch}\"}\n")
                          .config;

  EXPECT_EQ(config.evaluate.batch, 8);
}

TEST(Interpolation, RefersToADefaultThatTheFileDoesNotSet) {
  EXPECT_EQ(read_more("run: {name: \"s${train.seed}\"}\n").config.run.name, "s1");
  EXPECT_EQ(read_text("model: {hidden: \"${model.channels}\"}\ndata: {train: \"${data.inputs}\"}\n"
                      "train: {epochs: 1, global_batch: 4, micro_batch: 2}\n")
                .config.model.hidden,
            std::vector<std::int64_t>{});
}

TEST(Interpolation, CopiesAWholeList) {
  const auto config = read_text(
                          "model: {channels: [3, 4], hidden: \"${model.channels}\"}\n"
                          "data: {train: a}\ntrain: {epochs: 1, global_batch: 4, micro_batch: 2}\n")
                          .config;

  EXPECT_EQ(config.model.hidden, (std::vector<std::int64_t>{3, 4}));
}

TEST(Interpolation, SeesOverrides) {
  const auto loaded = read_text(kSmall + "run: {name: \"e${train.epochs}\"}\n",
                                {.overrides = {"train.epochs=5"}, .environment = {}});

  EXPECT_EQ(loaded.config.run.name, "e5");
}

TEST(Interpolation, WorksInOverrides) {
  const auto loaded =
      read_text(kSmall, {.overrides = {"run.name=${env:N}"}, .environment = {{"N", "night"}}});

  EXPECT_EQ(loaded.config.run.name, "night");
}

TEST(Interpolation, LeavesADoubledDollarAsASingleOne) {
  EXPECT_EQ(read_more("run: {name: \"$${x}\"}\n").config.run.name, "${x}");
  EXPECT_EQ(read_more("run: {name: \"$$${x}\"}\n").config.run.name, "$${x}");
  EXPECT_EQ(read_more("run: {name: \"a$b\"}\n").config.run.name, "a$b");
}

TEST(Interpolation, NamesACircle) {
  EXPECT_EQ(only_problem(problems_of_more("evaluate: {batch: \"${log.digest_every_steps}\"}\n"
                                          "log: {digest_every_steps: \"${evaluate.batch}\"}\n")),
            "references go in a circle (evaluate.batch -> log.digest_every_steps -> "
            "evaluate.batch) | give one of them a value");
}

TEST(Interpolation, NamesWhatCannotBeResolved) {
  EXPECT_EQ(only_problem(problems_of_more("run: {name: \"${env:NOPE}\"}\n")),
            "environment variable 'NOPE' is not set | "
            "set it, or give a default: ${env:NOPE,value}");
  EXPECT_EQ(only_problem(problems_of_more("run: {name: \"${train.epoch}\"}\n")),
            "reference to unknown key 'train.epoch' | did you mean 'train.epochs'?");
  EXPECT_EQ(only_problem(problems_of_more("run: {name: \"${train}\"}\n")),
            "reference to 'train' names a section, not a value | name a knob in it");
  EXPECT_EQ(only_problem(problems_of_more("run: {name: \"${train.epochs\"}\n")),
            "an interpolation in '${train.epochs' is not closed | "
            "add the '}', or write '$${' for the two characters");
}

TEST(Interpolation, RefusesAListInsideOfAText) {
  EXPECT_EQ(only_problem(problems_of_more("run: {name: \"a${train.optimizer.betas}\"}\n")),
            "a reference to a list stands inside of a text | use it alone as the value");
}

TEST(Interpolation, RefusesAVariableThatIsNoText) {
  EXPECT_EQ(only_problem(problems_of_more("run: {name: \"${env:N}\"}\n", {{"N", "\xff"}})),
            "environment variable 'N' is not UTF-8 text | set it anew");
}

TEST(Interpolation, ReportsTheUnresolvedOnceAndNotItsReaders) {
  const auto found = problems_of_more(
      "run: {name: \"${env:NOPE}\"}\nlog: {}\n"
      "compute: {device: \"${run.name}\"}\n");

  EXPECT_EQ(found.size(), 1u);
}

TEST(Interpolation, BoundsWhatReferencesCanMake) {
  std::string text = kSmall + "x0: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n";
  for (int i = 1; i < 40; ++i) {
    const auto before = "${x" + std::to_string(i - 1) + "}";
    text += "x" + std::to_string(i) + ": \"" + before + before + "\"\n";
  }

  const auto found = messages(problems_of(text));

  EXPECT_EQ(std::count(found.begin(), found.end(), "interpolation makes more than 1 MiB of text"),
            1);
}

TEST(Interpolation, BoundsChainsAndBraces) {
  std::string chain = kSmall;
  for (int i = 0; i < 1000; ++i) {
    chain += "x" + std::to_string(i) + ": \"${x" + std::to_string(i + 1) + "}\"\n";
  }
  std::string braces;
  for (int i = 0; i < 1000; ++i) braces += "${env:A,";

  EXPECT_EQ(problems_of(chain).size(), kMostDiagnostics);
  EXPECT_EQ(problems_of_more("run: {name: \"" + braces + std::string(1000, '}') + "\"}\n").size(),
            1u);
}

}  // namespace
}  // namespace lockstep::configs
