#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "launcher/machine.hpp"
#include "tests/launcher/program.hpp"

namespace lockstep::launcher {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

constexpr char kConfig[] =
    "model: {name: mlp, hidden: [16]}\n"
    "data: {train: train.h5}\n"
    "train: {epochs: 2, global_batch: 32, micro_batch: 8, optimizer: {name: sgd, lr: 0.1}}\n";

class CommandLine : public testing::Test {
 protected:
  Program lockstep_;
};

TEST_F(CommandLine, WithoutWordsIsAShortHelpWithTwoExamples) {
  const auto answer = lockstep_.run({});

  EXPECT_EQ(answer.exit_code, 0);
  EXPECT_THAT(answer.output, AllOf(HasSubstr("lockstep train configs/examples/"),
                                   HasSubstr("lockstep show latest")));
  EXPECT_THAT(answer.errors, IsEmpty());
}

TEST_F(CommandLine, ListsOnlyCommandsThatExist) {
  const auto help = lockstep_.run({"--help"}).output;

  for (const char* later : {"sweep", "submit", "pipeline"}) {
    EXPECT_THAT(help, Not(HasSubstr(later)));
  }
  for (const char* name : {"train",
                           "plan",
                           "resume",
                           "evaluate",
                           "predict",
                           "data import idx",
                           "data inspect",
                           "data stats",
                           "data diff",
                           "data split",
                           "data repack",
                           "data verify",
                           "data synth",
                           "runs",
                           "show",
                           "verify",
                           "config show",
                           "explain",
                           "env",
                           "doctor",
                           "drill",
                           "version",
                           "data import csv",
                           "data import images",
                           "data import npy",
                           "data import npz",
                           "data import parquet",
                           "data import text"}) {
    EXPECT_THAT(help, HasSubstr(std::string("\n  ") + name)) << name;
  }
}

TEST_F(CommandLine, TakesHelpAnywhere) {
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"train", "-h"}, {"-h", "train"}, {"help", "train"}, {"train", "exp.yaml", "--help"}}) {
    const auto answer = lockstep_.run(words);
    EXPECT_EQ(answer.exit_code, 0);
    EXPECT_THAT(answer.output, AllOf(HasSubstr("--ranks"), HasSubstr("--overfit-batches")));
  }
  EXPECT_THAT(lockstep_.run({"data", "-h"}).output, HasSubstr("data synth KIND"));
}

TEST_F(CommandLine, NamesTheNearestCommand) {
  const auto answer = lockstep_.run({"trian", "exp.yaml"});

  EXPECT_EQ(answer.exit_code, 2);
  EXPECT_THAT(answer.errors, StartsWith("error: 'trian' is no command of 'lockstep'"));
  EXPECT_THAT(answer.errors, HasSubstr("did you mean 'lockstep train'?"));
  EXPECT_THAT(answer.output, IsEmpty());
}

TEST_F(CommandLine, NamesTheNearestCommandOfAGroup) {
  const auto answer = lockstep_.run({"data", "sinth"});

  EXPECT_EQ(answer.exit_code, 2);
  EXPECT_EQ(answer.errors,
            "error: 'sinth' is no command of 'lockstep data' (it has import, inspect, stats, diff, "
            "split, "
            "repack, verify, synth); did you mean 'lockstep data synth'?\n");
}

TEST_F(CommandLine, NamesTheNearestOption) {
  const auto answer = lockstep_.run({"train", "exp.yaml", "--rank", "2"});

  EXPECT_EQ(answer.exit_code, 2);
  EXPECT_EQ(answer.errors,
            "error: '--rank' is not taken by 'lockstep train' (it is neither an option nor an "
            "operand of it); did you mean '--ranks'?\n");
}

TEST_F(CommandLine, SaysWhichOperandIsMissing) {
  const auto answer = lockstep_.run({"train"});

  EXPECT_EQ(answer.exit_code, 2);
  EXPECT_THAT(answer.errors, AllOf(HasSubstr("CONFIG"), HasSubstr("see 'lockstep train -h'")));
}

TEST_F(CommandLine, RefusesANumberThatIsNone) {
  const auto answer = lockstep_.run({"train", "exp.yaml", "--ranks", "two"});

  EXPECT_EQ(answer.exit_code, 2);
  EXPECT_THAT(answer.errors, HasSubstr("--ranks"));
}

TEST_F(CommandLine, RefusesAWordThatIsNoOverride) {
  lockstep_.write("exp.yaml", kConfig);

  const auto answer = lockstep_.run({"train", "exp.yaml", "other.yaml"});

  EXPECT_EQ(answer.exit_code, 2);
  EXPECT_THAT(answer.errors, HasSubstr("'other.yaml' changes nothing in the configuration"));
}

TEST_F(CommandLine, ShowsEveryProblemOfAConfigurationWithItsPlace) {
  lockstep_.write("exp.yaml",
                  "data: {train: train.h5}\ntrain: {epoch: 2, global_batch: 32, micro_batch: 7}\n");

  const auto answer = lockstep_.run({"train", "exp.yaml"});

  EXPECT_EQ(answer.exit_code, 2);
  EXPECT_THAT(answer.errors, AllOf(HasSubstr("exp.yaml:2:9"), HasSubstr("did you mean 'epochs'?"),
                                   HasSubstr("micro_batch")));
  EXPECT_THAT(answer.output, IsEmpty());
}

TEST_F(CommandLine, ColorsOnlyWhenAskedTo) {
  EXPECT_THAT(lockstep_.run({"trian"}).errors, Not(HasSubstr("\x1b[")));
  EXPECT_THAT(lockstep_.run({"explain", "3", "--color=always"}).output, HasSubstr("\x1b["));
  EXPECT_EQ(lockstep_.run({"explain", "3", "--color=sometimes"}).exit_code, 2);
}

TEST_F(CommandLine, ShowsTheResolvedConfigurationThatCanBeReadAgain) {
  lockstep_.write("exp.yaml", kConfig);

  const auto shown = lockstep_.run({"config", "show", "exp.yaml", "train.epochs=5"});
  ASSERT_EQ(shown.exit_code, 0);
  lockstep_.write("again.yaml", shown.output);

  const auto again = json::parse(lockstep_.run({"config", "show", "again.yaml", "--json"}).output);
  EXPECT_EQ(again["train"]["epochs"], 5);
  EXPECT_EQ(again["train"]["micro_batch"], 8);
}

TEST_F(CommandLine, ExplainsWhereAValueComesFrom) {
  lockstep_.write("exp.yaml", kConfig);

  EXPECT_THAT(lockstep_.run({"config", "explain", "exp.yaml", "train.lr"}).output,
              HasSubstr("exp.yaml:3:"));
  EXPECT_EQ(lockstep_.run({"config", "explain", "exp.yaml", "train.lrr"}).exit_code, 2);
}

TEST_F(CommandLine, PrintsReferenceAndSchema) {
  EXPECT_THAT(lockstep_.run({"config", "reference"}).output, HasSubstr("global_batch"));
  EXPECT_TRUE(json::parse(lockstep_.run({"config", "schema"}).output).contains("$schema"));
}

TEST_F(CommandLine, ExplainsExitCodes) {
  EXPECT_THAT(lockstep_.run({"explain", "75"}).output, HasSubstr("lockstep resume RUN"));
  EXPECT_THAT(lockstep_.run({"explain", "137"}).output, HasSubstr("signal 9 (Killed)"));
  const auto answer = lockstep_.run({"explain", "99"});
  EXPECT_EQ(answer.exit_code, 2);
  EXPECT_THAT(answer.errors, HasSubstr("exit code 99 is none of this program's"));
}

TEST_F(CommandLine, TellsItsVersion) {
  EXPECT_THAT(lockstep_.run({"version"}).output, StartsWith("lockstep 0."));
  EXPECT_EQ(lockstep_.run({"version"}).output, lockstep_.run({"--version"}).output);
}

TEST_F(CommandLine, TellsTheEnvironmentAsJson) {
  lockstep_.environment["OMPI_MCA_btl"] = "self";
  lockstep_.environment["SECRET_TOKEN"] = "hush";

  const auto facts = json::parse(lockstep_.run({"env", "--json"}).output);

  EXPECT_TRUE(facts.contains("mpirun"));
  EXPECT_EQ(facts["variables"]["OMPI_MCA_btl"], "self");
  EXPECT_FALSE(facts["variables"].contains("SECRET_TOKEN"));
}

TEST_F(CommandLine, DoctorFindsWhatIsMissing) {
  lockstep_.environment["PATH"] = "/nowhere";
  lockstep_.environment["LOCKSTEP_WORKER"] = "/nowhere/lockstep-worker";

  const auto answer = lockstep_.run({"doctor"});

  EXPECT_EQ(answer.exit_code, 4);
  EXPECT_THAT(answer.output, AllOf(HasSubstr("apt-get install openmpi-bin"),
                                   HasSubstr(std::to_string(numa_nodes()) + " NUMA node")));
}

TEST_F(CommandLine, SynthesisesADatasetAndLooksAtIt) {
  const auto made = lockstep_.run({"data", "synth", "classification", "--rows", "40", "--features",
                                   "6", "--classes", "3", "--output", "s.h5"});
  ASSERT_EQ(made.exit_code, 0) << made.errors;
  EXPECT_EQ(made.errors, "wrote s.h5: 40 rows\n");

  EXPECT_THAT(lockstep_.run({"data", "inspect", "s.h5"}).output, HasSubstr("classification"));
  const auto facts = json::parse(lockstep_.run({"data", "inspect", "s.h5", "--json"}).output);
  EXPECT_EQ(facts["samples"], 40);
}

TEST_F(CommandLine, NamesTheNearestKindOfSyntheticData) {
  const auto answer =
      lockstep_.run({"data", "synth", "clasification", "--rows", "4", "--output", "s.h5"});

  EXPECT_EQ(answer.exit_code, 2);
  EXPECT_THAT(answer.errors, HasSubstr("did you mean 'classification'?"));
}

TEST_F(CommandLine, RefusesAShapeItCannotRead) {
  const auto answer = lockstep_.run(
      {"data", "synth", "classification", "--rows", "4", "--shape", "3,x,2", "--output", "s.h5"});

  EXPECT_EQ(answer.exit_code, 2);
  EXPECT_THAT(answer.errors, HasSubstr("shape '3,x,2' cannot be read at 'x'"));
}

TEST_F(CommandLine, EndsInADataErrorForAFileThatIsNoDataset) {
  lockstep_.write("s.h5", "not HDF5");

  EXPECT_EQ(lockstep_.run({"data", "inspect", "s.h5"}).exit_code, 3);
  EXPECT_EQ(lockstep_.run({"data", "inspect", "none.h5"}).exit_code, 3);
}

constexpr char kRecord[] = R"({"format":"lockstep-run","version":1,"id":"00","name":"amber-heron",
 "parent":"","command":["lockstep","train","exp.yaml"],"commit":"abc","dirty":false,
 "build_id":"b","config_hash":"c","data":{"train":{"path":"t.h5","fingerprint":"f","samples":60000}},
 "seed":1,"hosts":["vm"],"versions":{},"world_sizes":[{"step":0,"world_size":2}],"status":"done",
 "exit_code":0,"started":"2026-01-31T12:00:00.000Z","ended":"2026-01-31T12:01:00.000Z",
 "step":412,"epoch":3,"state_digest":"d1e2","metrics":{"test/accuracy":0.9123},"restarts":0})";

TEST_F(CommandLine, ListsRuns) {
  EXPECT_THAT(lockstep_.run({"runs"}).output, HasSubstr("no runs in 'runs'"));

  lockstep_.write("runs/amber-heron/run.json", kRecord);
  lockstep_.write("runs/broken-crane/run.json", "{");

  const auto answer = lockstep_.run({"runs"});
  EXPECT_EQ(answer.exit_code, 0);
  EXPECT_THAT(answer.output, AllOf(HasSubstr("amber-heron  done"), HasSubstr("2026-01-31 12:00"),
                                   HasSubstr("test/accuracy 0.9123")));
  EXPECT_THAT(answer.errors, AllOf(StartsWith("warning: "), HasSubstr("broken-crane")));
  EXPECT_EQ(json::parse(lockstep_.run({"runs", "--json"}).output)[0]["name"], "amber-heron");
}

TEST_F(CommandLine, ShowsARunWithAllThatItsJsonPromises) {
  lockstep_.write("runs/amber-heron/run.json", kRecord);

  EXPECT_THAT(lockstep_.run({"show", "amber-heron"}).output,
              AllOf(HasSubstr("t.h5, 60,000 samples"), HasSubstr("2 from step 0")));
  const auto facts = json::parse(lockstep_.run({"show", "amber-heron", "--json"}).output);
  for (const char* key :
       {"name", "status", "exit_code", "step", "epoch", "world_size", "restarts", "state_digest",
        "metrics", "checkpoints", "config_hash", "data", "commit"}) {
    EXPECT_TRUE(facts.contains(key)) << key;
  }
}

TEST_F(CommandLine, TakesARunWhoseNameIsACommand) {
  std::string record = kRecord;
  record.replace(record.find("amber-heron"), 11, "runs");
  lockstep_.write("runs/runs/run.json", record);

  EXPECT_EQ(lockstep_.run({"show", "runs"}).exit_code, 0);
}

TEST_F(CommandLine, NamesTheNearestRun) {
  lockstep_.write("runs/amber-heron/run.json", kRecord);

  for (const char* command : {"show", "verify", "resume", "evaluate"}) {
    const auto answer = lockstep_.run({command, "amber-heran"});
    EXPECT_EQ(answer.exit_code, 6) << command;
    EXPECT_THAT(answer.errors, HasSubstr("did you mean 'amber-heron'?")) << command;
  }
}

TEST_F(CommandLine, PlansWithoutDoingAnything) {
  lockstep_.write("exp.yaml", kConfig);
  ASSERT_EQ(lockstep_
                .run({"data", "synth", "classification", "--rows", "100", "--features", "4",
                      "--output", "train.h5"})
                .exit_code,
            0);
  lockstep_.set_worker("echo '{\"parameters\": 1000, \"state_bytes\": 8000}'");

  const auto answer = lockstep_.run({"plan", "exp.yaml", "--ranks", "3", "--launcher", "mpirun"});

  ASSERT_EQ(answer.exit_code, 0) << answer.errors;
  EXPECT_THAT(answer.output,
              AllOf(HasSubstr("mlp, 1,000 parameters (3.9 KiB)"),
                    HasSubstr("train.h5, 100 samples"), HasSubstr("3 (mpirun), 1 thread each"),
                    HasSubstr("32 samples a step in 4 micro-batches of 8: 2 on rank 0, 1 on each "
                              "of ranks 1 to 2"),
                    HasSubstr("6 = 2 epochs of 3 steps, 192 samples"),
                    HasSubstr("the same state_digest on any number of ranks"),
                    HasSubstr("mpirun -n 3 "), HasSubstr("train exp.yaml launch.ranks=3")));
  EXPECT_THAT(lockstep_.run({"runs"}).output, HasSubstr("no runs"));
  EXPECT_EQ(lockstep_.run({"train", "exp.yaml", "--dry-run"}).output,
            lockstep_.run({"plan", "exp.yaml"}).output);
}

TEST_F(CommandLine, LetsRanksWithGpusBindThemselves) {
  lockstep_.write("exp.yaml", kConfig);
  lockstep_.environment["LOCKSTEP_WORKER"] = "/nowhere";
  const auto bindings = [&](const std::string& override_word) {
    const auto answer =
        lockstep_.run({"plan", "exp.yaml", "--ranks", "2", "--launcher", "mpirun", override_word});
    EXPECT_EQ(answer.exit_code, 0) << answer.errors;
    const auto begin = answer.output.find("--bind-to ");
    return begin == std::string::npos ? "" : answer.output.substr(begin, 14);
  };

  EXPECT_EQ(bindings("compute.device=cuda"), "--bind-to none");
  // To cores where there are enough, on GPUs too.
  EXPECT_EQ(bindings("compute={device: cuda, bind: false}"), bindings("compute.device=cpu"));
}

TEST_F(CommandLine, SaysThatThePromiseIsOffWithoutMicroBatches) {
  lockstep_.write("exp.yaml", kConfig);
  lockstep_.environment["LOCKSTEP_WORKER"] = "/nowhere";

  const auto answer = lockstep_.run({"plan", "exp.yaml", "~train.micro_batch"});

  ASSERT_EQ(answer.exit_code, 0) << answer.errors;
  EXPECT_THAT(answer.output, AllOf(HasSubstr("promise  off: without train.micro_batch"),
                                   HasSubstr("size unknown"), HasSubstr("samples unknown")));
}

TEST_F(CommandLine, DoesNotStartWithoutItsDataOrItsWorker) {
  lockstep_.write("exp.yaml", kConfig);
  lockstep_.environment["LOCKSTEP_WORKER"] = "/nowhere";
  const auto no_data = lockstep_.run({"train", "exp.yaml"});
  EXPECT_EQ(no_data.exit_code, 3);
  EXPECT_THAT(no_data.errors, HasSubstr("data file 'train.h5' does not exist"));

  lockstep_.write("train.h5", "x");
  const auto no_worker = lockstep_.run({"train", "exp.yaml"});
  EXPECT_EQ(no_worker.exit_code, 4);
  EXPECT_THAT(no_worker.errors, HasSubstr("./bootstrap.sh build"));
  EXPECT_THAT(lockstep_.run({"runs"}).output, HasSubstr("no runs"));
}

}  // namespace
}  // namespace lockstep::launcher
