// `train` and `resume` from the typed command to the last line, with a shell script as the worker.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "launcher/exec_words.hpp"
#include "tests/launcher/program.hpp"

namespace lockstep::launcher {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kConfig[] =
    "model: {name: mlp, hidden: [16]}\n"
    "data: {train: train.h5}\n"
    "train: {epochs: 2, global_batch: 32, micro_batch: 8, optimizer: {name: sgd, lr: 0.1}}\n"
    "launch: {launcher: local}\n";

class TrainCommand : public testing::Test {
 protected:
  TrainCommand() {
    lockstep_.write("exp.yaml", kConfig);
    lockstep_.write("train.h5", "stands for data");
  }
  json record() const { return json::parse(lockstep_.read("runs/latest/run.json")); }

  Program lockstep_;
};

TEST_F(TrainCommand, PreparesTheRunAndEndsWithItsCard) {
  lockstep_.set_worker("echo \"$@\" > words; echo 'epoch 2/2'");

  const auto answer =
      lockstep_.run({"train", "exp.yaml", "train.optimizer.lr=0.5", "--name", "amber-heron"});

  ASSERT_EQ(answer.exit_code, 0) << answer.errors;
  EXPECT_THAT(answer.output, AllOf(HasSubstr("epoch 2/2\n"), HasSubstr("amber-heron: done"),
                                   HasSubstr("lockstep show amber-heron")));
  EXPECT_THAT(lockstep_.read("words"),
              AllOf(testing::StartsWith("train exp.yaml train.optimizer.lr=0.5"),
                    HasSubstr("--run-dir"), HasSubstr("runs/amber-heron")));
  EXPECT_EQ(record()["status"], "done");
  EXPECT_EQ(record()["command"], (json{"lockstep", "train", "exp.yaml", "train.optimizer.lr=0.5",
                                       "--name", "amber-heron"}));
  EXPECT_EQ(record()["world_sizes"], json::parse(R"([{"step":0,"world_size":1}])"));
  EXPECT_EQ(record()["config_hash"].get<std::string>().size(), 64u);
  EXPECT_THAT(lockstep_.read("runs/amber-heron/overrides.txt"),
              HasSubstr("train.optimizer.lr=0.5\n"));
}

TEST_F(TrainCommand, SavesAConfigurationThatCanBeRunAgain) {
  lockstep_.set_worker("exit 0");
  ASSERT_EQ(lockstep_.run({"train", "exp.yaml", "--name", "first", "train.epochs=7"}).exit_code, 0);

  const auto again = lockstep_.run({"train", "runs/first/config.yaml", "--name", "second"});

  ASSERT_EQ(again.exit_code, 0) << again.errors;
  const auto first = json::parse(lockstep_.read("runs/first/run.json"));
  EXPECT_EQ(first["config_hash"], record()["config_hash"]);
  EXPECT_NE(first["id"], record()["id"]);
}

TEST_F(TrainCommand, NeverOverwritesARun) {
  lockstep_.set_worker("exit 0");
  ASSERT_EQ(lockstep_.run({"train", "exp.yaml", "--name", "taken"}).exit_code, 0);

  const auto answer = lockstep_.run({"train", "exp.yaml", "--name", "taken"});

  EXPECT_EQ(answer.exit_code, 2);
  EXPECT_THAT(answer.errors, HasSubstr("lockstep resume taken"));
}

TEST_F(TrainCommand, HandsItsDebugOptionsToTheWorker) {
  lockstep_.set_worker("echo \"$@\" > words");

  lockstep_.run({"train", "--fast-dev-run", "exp.yaml", "--overfit-batches", "3"});
  EXPECT_THAT(lockstep_.read("words"),
              AllOf(HasSubstr("--fast-dev-run 1 "), HasSubstr("--overfit-batches 3 ")));

  lockstep_.run({"train", "--fast-dev-run=5", "exp.yaml"});
  EXPECT_THAT(lockstep_.read("words"), HasSubstr("--fast-dev-run 5 "));
}

TEST_F(TrainCommand, PassesTheWorkersExitCodeOnAndTellsTheRootCause) {
  lockstep_.set_worker(
      "while [ $# -gt 1 ]; do shift; done\n"
      "echo '{\"event\":\"failure\",\"cause\":\"data\",\"rank\":0,\"host\":\"vm\","
      "\"phase\":\"data\",\"step\":7,\"message\":\"label 12 in row 3\","
      "\"advice\":\"lockstep data inspect train.h5\",\"exit_code\":3}' >> $1/events.jsonl\n"
      "exit 3");

  const auto answer = lockstep_.run({"train", "exp.yaml", "--name", "amber-heron"});

  EXPECT_EQ(answer.exit_code, 3);
  EXPECT_THAT(answer.errors,
              AllOf(HasSubstr("run failed"), HasSubstr("cause      label 12 in row 3"),
                    HasSubstr("rank 0, host vm, phase data, step 7"),
                    HasSubstr("try        lockstep data inspect train.h5"),
                    HasSubstr("lockstep resume amber-heron")));
  EXPECT_THAT(answer.output, Not(HasSubstr("done")));
  EXPECT_EQ(record()["status"], "failed");
  EXPECT_EQ(record()["exit_code"], 3);
}

TEST_F(TrainCommand, NotesADeathThatTheWorkerCouldNotNote) {
  lockstep_.set_worker("kill -9 $$");

  const auto answer = lockstep_.run({"train", "exp.yaml", "launch.restarts=0"});

  EXPECT_EQ(answer.exit_code, 1);
  EXPECT_THAT(answer.errors, HasSubstr("rank 0 killed by signal 9 (Killed)"));
  EXPECT_EQ(record()["status"], "failed");
  EXPECT_THAT(lockstep_.read("runs/latest/events.jsonl"), HasSubstr("\"cause\":\"killed\""));
}

TEST_F(TrainCommand, StartsAKilledRunAgainAndSaysSo) {
  lockstep_.set_worker("echo \"$1 $LOCKSTEP_ATTEMPT\" >> words; [ $1 = resume ] || kill -9 $$");

  const auto answer = lockstep_.run({"train", "exp.yaml"});

  EXPECT_EQ(answer.exit_code, 0) << answer.errors;
  EXPECT_EQ(lockstep_.read("words"), "train 0\nresume 1\n");
  EXPECT_THAT(answer.errors, HasSubstr("restart 1 of 3 on 1 rank"));
  EXPECT_EQ(record()["restarts"], 1);
  EXPECT_THAT(lockstep_.read("runs/latest/events.jsonl"), HasSubstr("\"event\":\"restart\""));
}

TEST_F(TrainCommand, GivesUpWithItsOwnCodeWhenRestartsGetNowhere) {
  lockstep_.set_worker("kill -9 $$");

  const auto answer = lockstep_.run({"train", "exp.yaml"});

  EXPECT_EQ(answer.exit_code, 8);
  EXPECT_THAT(answer.errors, HasSubstr("restarts do not get past"));
  EXPECT_EQ(record()["exit_code"], 8);
}

TEST_F(TrainCommand, DoesNotStartATrialAgain) {
  lockstep_.set_worker("kill -9 $$");

  EXPECT_EQ(lockstep_.run({"train", "exp.yaml", "--fast-dev-run"}).exit_code, 1);
}

TEST_F(TrainCommand, StartsTheResumeOfARun) {
  lockstep_.set_worker("echo \"$@\" > words; exit 75");
  const auto stopped = lockstep_.run({"train", "exp.yaml", "--name", "amber-heron"});
  EXPECT_EQ(stopped.exit_code, 75);
  EXPECT_THAT(stopped.output, HasSubstr("stopped on request, state saved"));

  lockstep_.set_worker("echo \"$@\" > words");
  const auto resumed = lockstep_.run({"resume", "amber-heron"});

  EXPECT_EQ(resumed.exit_code, 0) << resumed.errors;
  EXPECT_EQ(lockstep_.read("words").substr(0, 7), "resume ");
  EXPECT_THAT(lockstep_.read("words"), HasSubstr("runs/amber-heron\n"));
  EXPECT_EQ(record()["status"], "done");
}

TEST_F(TrainCommand, HandsACheckpointToTheEvaluation) {
  lockstep_.set_worker("exit 0");
  ASSERT_EQ(lockstep_.run({"train", "exp.yaml", "--name", "r"}).exit_code, 0);
  lockstep_.write("runs/r/checkpoints/step-00000001/manifest.json", "{}");
  lockstep_.set_worker("echo \"$@\" > words; echo accuracy 0.9");

  const auto answer = lockstep_.run({"evaluate", "runs/r/checkpoints/step-00000001"});

  EXPECT_EQ(answer.output, "accuracy 0.9\n");
  EXPECT_THAT(lockstep_.read("words"),
              AllOf(testing::StartsWith("evaluate "), HasSubstr("/step-00000001\n")));
  lockstep_.run({"predict", "r", "--output", "p.h5"});
  EXPECT_THAT(lockstep_.read("words"), HasSubstr("runs/r --output p.h5\n"));
}

TEST_F(TrainCommand, LeavesTheErrorOfAnEvaluationToTheWorkerAndTellsOnlyADeath) {
  lockstep_.set_worker("exit 0");
  ASSERT_EQ(lockstep_.run({"train", "exp.yaml", "--name", "r"}).exit_code, 0);

  lockstep_.set_worker("echo 'error: no checkpoint' >&2; exit 6");
  const auto failed = lockstep_.run({"evaluate", "r"});
  EXPECT_EQ(failed.exit_code, 6);
  EXPECT_EQ(failed.errors, "error: no checkpoint\n");

  lockstep_.set_worker("kill -9 $$");
  EXPECT_THAT(lockstep_.run({"evaluate", "r"}).errors,
              HasSubstr("rank 0 killed by signal 9 (Killed)"));
  EXPECT_EQ(record()["status"], "done");
}

TEST_F(TrainCommand, RunsRanksUnderTheRealMpirun) {
  lockstep_.set_worker("echo rank $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE");

  const auto answer = lockstep_.run({"train", "exp.yaml", "--ranks", "3", "--launcher", "mpirun"});

  EXPECT_EQ(answer.exit_code, 0) << answer.errors;
  for (const char* rank : {"rank 0 of 3", "rank 1 of 3", "rank 2 of 3"}) {
    EXPECT_THAT(answer.output, HasSubstr(rank));
  }
}

TEST_F(TrainCommand, NamesTheSignalThatKilledARankUnderTheRealMpirun) {
  lockstep_.set_worker("[ $OMPI_COMM_WORLD_RANK = 1 ] && kill -9 $$; exec sleep 600");

  const auto answer = lockstep_.run(
      {"train", "exp.yaml", "launch.restarts=0", "--ranks", "2", "--launcher", "mpirun"});

  EXPECT_EQ(answer.exit_code, 1);
  // Which rank it was, mpirun does not always say.
  EXPECT_THAT(answer.errors,
              AllOf(HasSubstr("killed by signal 9 (Killed)"), Not(HasSubstr("mpirun noticed"))));
}

TEST_F(TrainCommand, PassesTheCodeOfTheFirstRankThatFailedUnderTheRealMpirun) {
  lockstep_.set_worker("[ $OMPI_COMM_WORLD_RANK = 1 ] && exit 6; exec sleep 600");

  EXPECT_EQ(lockstep_.run({"train", "exp.yaml", "--ranks", "2", "--launcher", "mpirun"}).exit_code,
            6);
}

/// `lockstep` in the background, so that it can be sent signals.
class Background {
 public:
  Background(const Program& program, const std::vector<std::string>& words) {
    std::vector<std::string> argv{"/usr/bin/env", "-C", program.path("."), LOCKSTEP_BINARY};
    argv.insert(argv.end(), words.begin(), words.end());
    ExecWords all_words(argv);
    ExecWords variables(program.environment);
    posix_spawn(&pid_, "/usr/bin/env", nullptr, nullptr, all_words.data(), variables.data());
  }
  int pid() const { return pid_; }
  int wait() const {
    int status = 0;
    waitpid(pid_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
};

/// Until `done`; fails the test after 20 s.
template <class Condition>
void await(Condition done) {
  for (int tries = 0; !done(); ++tries) {
    ASSERT_LT(tries, 2000) << "it did not come about in 20 s";
    poll(nullptr, 0, 10);
  }
}

/// Runs `signal` through lockstep to ranks under mpirun that save when they get SIGUSR1.
TEST_F(TrainCommand, StopsRanksUnderTheRealMpirunInOrder) {
  lockstep_.set_worker(
      "trap 'touch saved.$OMPI_COMM_WORLD_RANK; exit 75' USR1\n"
      "touch ready.$OMPI_COMM_WORLD_RANK; while :; do sleep 0.02; done");
  const Background background(lockstep_,
                              {"train", "exp.yaml", "--ranks", "2", "--launcher", "mpirun"});
  await([&] {
    return std::filesystem::exists(lockstep_.path("ready.0")) &&
           std::filesystem::exists(lockstep_.path("ready.1"));
  });

  kill(background.pid(), SIGTERM);

  EXPECT_EQ(background.wait(), 75);
  EXPECT_TRUE(std::filesystem::exists(lockstep_.path("saved.0")));
  EXPECT_EQ(record()["status"], "stopped");
}

TEST_F(TrainCommand, LeavesNoRankBehindWhenLockstepIsKilled) {
  lockstep_.set_worker("echo $$ > pid.$OMPI_COMM_WORLD_RANK; exec sleep 600");
  const Background background(lockstep_,
                              {"train", "exp.yaml", "--ranks", "2", "--launcher", "mpirun"});
  std::vector<int> pids(2);
  await([&] {
    for (const int rank : {0, 1}) {
      std::ifstream(lockstep_.path("pid." + std::to_string(rank))) >> pids[rank];
    }
    return pids[0] > 0 && pids[1] > 0;
  });

  kill(background.pid(), SIGKILL);
  background.wait();

  for (const int pid : pids) await([&] { return kill(pid, 0) != 0; });
}

}  // namespace
}  // namespace lockstep::launcher
