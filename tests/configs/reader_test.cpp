#include "configs/reader.hpp"

#include <gtest/gtest.h>

#include "configs/knob_table.hpp"
#include "tests/configs/reading.hpp"

namespace lockstep::configs {
namespace {

TEST(ReadConfig, StoresEachTypeOfValue) {
  const auto config = read_text(
                          "model: {name: mlp, hidden: [3, 4], dropout: 0.25}\n"
                          "data: {train: a.h5, shuffle: false, mean: [0.5, 1]}\n"
                          "launch: {hosts: [a:4, b:4]}\n"
                          "train: {epochs: 1e0, global_batch: 0x10, micro_batch: 2}\n")
                          .config;

  EXPECT_EQ(config.model.name, "mlp");
  EXPECT_EQ(config.model.hidden, (std::vector<std::int64_t>{3, 4}));
  EXPECT_EQ(config.model.dropout, 0.25);
  EXPECT_FALSE(config.data.shuffle);
  EXPECT_EQ(config.data.mean, (std::vector<double>{0.5, 1}));
  EXPECT_EQ(config.launch.hosts, (std::vector<std::string>{"a:4", "b:4"}));
  EXPECT_EQ(config.train.epochs, 1);
  EXPECT_EQ(config.train.global_batch, 16);
}

TEST(ReadConfig, TakesAScalarForAListOfOne) {
  const auto config = read_small({"model.hidden=128", "launch.hosts=a", "data.mean=0.5"}).config;

  EXPECT_EQ(config.model.hidden, std::vector<std::int64_t>{128});
  EXPECT_EQ(config.launch.hosts, std::vector<std::string>{"a"});
  EXPECT_EQ(config.data.mean, std::vector<double>{0.5});
}

TEST(ReadConfig, LeavesDefaultsWhereNothingIsSaid) {
  auto expected = RunConfig{};
  expected.data.train = {"a.h5"};
  expected.train.epochs = 1;
  expected.train.global_batch = 8;
  expected.train.micro_batch = 2;

  EXPECT_EQ(read_text(kSmall).config, expected);
}

TEST(ReadConfig, TakesAnEmptySectionAsNothingSaid) {
  EXPECT_EQ(read_text(kSmall + "log:\n  # nothing\n").config, read_text(kSmall).config);
}

TEST(ReadConfig, KnowsWhereEachValueCameFrom) {
  const auto loaded = read_text(kSmall + "run: {name: \"${env:N}\"}\n",
                                {.overrides = {"train.seed=3"}, .environment = {{"N", "x"}}});

  const auto& file = loaded.origins.at("train.epochs");
  EXPECT_EQ(file.kind, Origin::Kind::kFile);
  EXPECT_EQ(describe_origin(file), "exp.yaml:4:17");
  EXPECT_EQ(file.text, "1");
  EXPECT_EQ(describe_origin(loaded.origins.at("train.seed")), "override 'train.seed=3'");
  EXPECT_EQ(describe_origin(loaded.origins.at("train.steps")), "default");
  EXPECT_EQ(describe_origin(loaded.origins.at("run.name")), "exp.yaml:5:13 '${env:N}'");
  EXPECT_EQ(loaded.main_file, "exp.yaml");
  EXPECT_EQ(loaded.overrides, std::vector<std::string>{"train.seed=3"});
}

TEST(ReadConfig, GivesEveryKnobAnOrigin) {
  RunConfig config;

  const auto loaded = read_text(kSmall);

  EXPECT_EQ(loaded.origins.size(), knob_table(config).knobs.size());
}

TEST(ReadConfig, ReportsEverythingAtOnce) {
  const auto found =
      messages(problems_of("model: {name: cn}\n"
                           "data: {train: a.h5, shuffle: yes}\n"
                           "train:\n"
                           "  epoch: 3\n"
                           "  global_batch: 100\n"
                           "  micro_batch: 33\n"
                           "  seed: 1.5\n"
                           "  clip_norm: .nan\n"
                           "  seed: 4\n"));

  EXPECT_EQ(found,
            (std::vector<std::string>{
                "model.name is 'cn' (it is one of mlp, cnn, resnet18, resnet50, gpt)",
                "data.shuffle is 'yes' (true or false is wanted)", "unknown key 'epoch' in 'train'",
                "train.micro_batch 33 does not divide train.global_batch 100 (micro-batches have "
                "one size)",
                "train.seed is '1.5', which is a fraction (a whole number is wanted)",
                "train.clip_norm is '.nan', which is not finite (a number is wanted)",
                "key 'seed' is given twice (first at line 7)"}));
}

TEST(ReadConfig, NamesTheKeyThatWasMeant) {
  EXPECT_EQ(only_problem(problems_of(kSmall + "modle: {}\n")),
            "unknown key 'modle' | did you mean 'model'?");
  EXPECT_EQ(only_problem(problems_of(kSmall + "batch_size: 3\n")).substr(0, 41),
            "unknown key 'batch_size' | it has model, ");
  EXPECT_EQ(only_problem(problems_of(kSmall + "seed: 3\n")),
            "unknown key 'seed' | did you mean 'train.seed'?");
  EXPECT_EQ(only_problem(problems_of(kSmall + "train.seed: 3\n")),
            "unknown key 'train.seed' | in a file, write 'seed:' below 'train:'");
}

TEST(ReadConfig, SaysNothingOfWhatDependsOnAMistypedSection) {
  EXPECT_EQ(only_problem(problems_of("data: {train: a.h5}\ntrian: {epochs: 1, global_batch: 4}\n")),
            "unknown key 'trian' | did you mean 'train'?");
  EXPECT_EQ(only_problem(problems_of("data: {train: a.h5}\ntrain: 3\n")),
            "'train' is a section, not a value | write its knobs below it, such as 'epochs:'");
}

TEST(ReadConfig, RefusesWrongTypes) {
  EXPECT_EQ(only_problem(problems_of_small({"train.epochs=three"})),
            "train.epochs is 'three' (a whole number is wanted) | ");
  EXPECT_EQ(only_problem(problems_of_small({"train.epochs='3'"})),
            "train.epochs is the text '3' (a whole number is wanted) | remove the quotes");
  EXPECT_EQ(only_problem(problems_of_small({"train.epochs=[3]"})),
            "train.epochs is a list (a whole number is wanted) | ");
  EXPECT_EQ(only_problem(problems_of_small({"data.test={a: b}"})),
            "data.test is a mapping (a list of texts is wanted) | ");
  EXPECT_EQ(only_problem(problems_of_small({"model.hidden=[1, [2]]"})),
            "model.hidden is a list (a list of whole numbers is wanted) | ");
  EXPECT_EQ(only_problem(problems_of_small({"data.shuffle='true'"})),
            "data.shuffle is the text 'true' (true or false is wanted) | remove the quotes");
  EXPECT_EQ(only_problem(problems_of_small({"data.shuffle=True"})),
            "data.shuffle is 'True' (true or false is wanted) | write true");
  EXPECT_EQ(only_problem(problems_of_small({"data.test=null"})),
            "data.test has no value (a list of texts is wanted) | give one, or remove the key");
  EXPECT_EQ(only_problem(problems_of_small({"data.test=\"a\\nb\""})),
            "data.test holds a line break or another control character | write it in one line");
}

TEST(ReadConfig, RefusesNumbersOutOfRange) {
  EXPECT_EQ(only_problem(problems_of_small({"launch.ranks=0"})),
            "launch.ranks is '0' (1 to 1,000,000 is allowed) | ");
  EXPECT_EQ(only_problem(problems_of_small({"model.dropout=1"})),
            "model.dropout is '1' (at least 0, below 1 is allowed) | ");
  EXPECT_EQ(only_problem(problems_of_small({"train.optimizer.betas=[0.9, 1]"})),
            "train.optimizer.betas is '1' (at least 0, below 1 is allowed) | ");
  EXPECT_EQ(only_problem(problems_of_small({"train.seed=9223372036854775808"})),
            "train.seed is '9223372036854775808', which a 64-bit number cannot hold "
            "(a whole number is wanted) | ");
}

TEST(ReadConfig, RefusesUnknownWordsWithTheNearest) {
  EXPECT_EQ(only_problem(problems_of_small({"train.optimizer.name=adamv"})),
            "train.optimizer.name is 'adamv' (it is one of sgd, adam, adamw) | "
            "did you mean 'adam'?");
  EXPECT_EQ(only_problem(problems_of_small({"launch.launcher=mpi-run"})),
            "launch.launcher is 'mpi-run' (it is one of auto, local, mpirun, srun) | "
            "did you mean 'mpirun'?");
  for (const auto* knob : {"model.activation", "train.schedule.name", "train.loss",
                           "train.reduction", "compute.device", "checkpoint.best"}) {
    EXPECT_EQ(problems_of_small({std::string(knob) + "=nonsense"}).size(), 1u) << knob;
  }
}

TEST(ReadConfig, RefusesAFileThatIsNoMapping) {
  EXPECT_EQ(only_problem(problems_of("- a\n- b\n")),
            "the file is not a mapping of sections | start with a section, such as 'train:'");
}

TEST(ReadConfig, ReportsWhatIsMissingFromAnEmptyFile) {
  EXPECT_EQ(messages(problems_of("")),
            (std::vector<std::string>{
                "data.train is required (it names the training samples)",
                "train.global_batch is required (it is part of what the result depends on)",
                "train.epochs or train.steps is required (nothing says when the run ends)"}));
}

}  // namespace
}  // namespace lockstep::configs
