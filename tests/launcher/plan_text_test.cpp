#include "launcher/plan_text.hpp"

#include <gtest/gtest.h>

namespace lockstep::launcher {
namespace {

configs::RunConfig small_config() {
  configs::RunConfig config;
  config.model.name = "cnn";
  config.data.train = {"fashion-train.h5"};
  config.train.epochs = 3;
  config.train.global_batch = 256;
  config.train.micro_batch = 32;
  config.run.name = "amber-heron";
  return config;
}

LaunchPlan two_ranks() {
  LaunchPlan plan;
  plan.kind = LaunchKind::kMpirun;
  plan.ranks = 2;
  plan.micro_batches = {{0, 4}, {4, 8}};
  return plan;
}

TEST(PlanText, TellsEverythingALaunchWouldDo) {
  PlanFacts facts;
  facts.samples = 60000;
  facts.parameters = 421642;
  facts.state_bytes = 5059704;
  facts.node_bytes = 8432840;
  facts.free_shared_bytes = 64u << 20;
  facts.free_disk_bytes = 1u << 30;
  facts.command = "mpirun -n 2 lockstep-worker train exp.yaml";

  EXPECT_EQ(plan_text(small_config(), two_ranks(), facts),
            "run      amber-heron\n"
            "model    cnn, 421,642 parameters (1.6 MiB)\n"
            "data     fashion-train.h5, 60,000 samples\n"
            "ranks    2 (mpirun), 1 thread each\n"
            "split    256 samples a step in 8 micro-batches of 32: 4 on each of ranks 0 to 1\n"
            "steps    702 = 3 epochs of 234 steps, 179,712 samples\n"
            "promise  the same state_digest on any number of ranks\n"
            "saves    every epoch, and at the end or a stop\n"
            "memory   4.8 MiB of state, 8.0 MiB of shared memory a node (64 MiB free in /dev/shm "
            "here)\n"
            "disk     up to 24.1 MiB for checkpoints of 4.8 MiB, 1 GiB free\n"
            "files    runs/amber-heron/\n"
            "         run.json, config.yaml, overrides.txt, ledger.jsonl, metrics.jsonl, "
            "events.jsonl\n"
            "         logs/, checkpoints/ (the newest 3 and the best)\n"
            "command  mpirun -n 2 lockstep-worker train exp.yaml\n");
}

TEST(PlanText, TellsWhenItSavesAndThatTheDiskIsTooSmall) {
  auto config = small_config();
  config.checkpoint.every = "auto";
  config.checkpoint.every_epochs = 2;
  config.checkpoint.every_steps = 50;
  config.checkpoint.keep_every_steps = 100;
  PlanFacts facts;
  facts.samples = 60000;
  facts.parameters = 421642;
  facts.state_bytes = 50'000'000;
  facts.free_disk_bytes = 500'000'000;

  const auto text = plan_text(config, two_ranks(), facts);

  EXPECT_NE(text.find("saves    every 2 epochs, 50 steps, 2m11s at first (auto, until a save was "
                      "measured), and at the end or a stop\n"),
            std::string::npos)
      << text;
  // 3 newest, the best, 7 of 702 steps and the one being written.
  EXPECT_NE(
      text.find("disk     up to 572 MiB for checkpoints of 47.7 MiB, 477 MiB free: TOO LITTLE"),
      std::string::npos)
      << text;
}

TEST(PlanText, TellsWhereThePromiseEnds) {
  auto config = small_config();
  config.train.divergence.policy = "rollback";
  config.checkpoint.every_epochs = 0;
  config.checkpoint.every_seconds = 60;

  EXPECT_NE(plan_text(config, two_ranks(), {}).find("until a step diverges"), std::string::npos);

  config.checkpoint.every_steps = 100;
  EXPECT_EQ(plan_text(config, two_ranks(), {}).find("until a step diverges"), std::string::npos);
}

TEST(PlanText, CountsEpochsOfARunThatIsGivenInSteps) {
  auto config = small_config();
  config.train.epochs = 0;
  config.train.steps = 117;
  PlanFacts facts;
  facts.samples = 60000;

  EXPECT_NE(plan_text(config, two_ranks(), facts).find("117 = 0.5 epochs of 234 steps, 29,952"),
            std::string::npos);
}

TEST(PlanText, SaysWhenTheDataIsSmallerThanOneStep) {
  PlanFacts facts;
  facts.samples = 100;

  EXPECT_NE(plan_text(small_config(), two_ranks(), facts)
                .find("none: 100 samples are fewer than train.global_batch 256"),
            std::string::npos);
}

TEST(PlanText, SaysWhenThePromiseIsOff) {
  auto config = small_config();
  config.train.reduction = "fast";

  EXPECT_NE(plan_text(config, two_ranks(), {}).find("promise  off: reduction fast"),
            std::string::npos);
}

TEST(PlanText, TellsWhatOutlivesARank) {
  PlanFacts facts;
  facts.state_bytes = 4u << 20;
  facts.kept_bytes = 8u << 20;

  EXPECT_NE(plan_text(small_config(), two_ranks(), facts)
                .find("memory   4 MiB of state, 8 MiB of memory that outlives a rank\n"),
            std::string::npos);
}

TEST(PlanText, WarnsWhenSharedMemoryIsTooSmall) {
  PlanFacts facts;
  facts.state_bytes = 1000;
  facts.node_bytes = 2000;
  facts.free_shared_bytes = 1999;

  EXPECT_NE(plan_text(small_config(), two_ranks(), facts).find("TOO LITTLE"), std::string::npos);
}

}  // namespace
}  // namespace lockstep::launcher
