#include "launcher/launch_plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.hpp"

namespace lockstep::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

LaunchRequest request_for(int ranks, int cores) {
  LaunchRequest request;
  request.ranks = ranks;
  request.cores = cores;
  request.mpirun = "/usr/bin/mpirun";
  request.srun = "";
  request.worker = {"/opt/lockstep-worker", "train", "exp.yaml"};
  return request;
}

template <class Action>
std::string error_of(base::ExitCode code, Action action) {
  try {
    action();
  } catch (const base::Error& error) {
    EXPECT_EQ(error.code(), code);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST(LaunchPlan, RunsOneRankWithoutMpi) {
  const auto plan = plan_launch(request_for(1, 2));

  EXPECT_EQ(plan.kind, LaunchKind::kLocal);
  EXPECT_THAT(plan.argv, ElementsAre("/opt/lockstep-worker", "train", "exp.yaml"));
  EXPECT_TRUE(plan.environment.empty());
}

TEST(LaunchPlan, BindsRanksToCoresWhenThereAreEnough) {
  const auto plan = plan_launch(request_for(2, 2));

  EXPECT_EQ(plan.kind, LaunchKind::kMpirun);
  EXPECT_EQ(shell_line(plan),
            "OMPI_MCA_btl=self,vader OMPI_MCA_btl_tcp_if_include=lo "
            "OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_oob_tcp_if_include=lo "
            "PRTE_MCA_oob_tcp_if_include=lo "
            "/usr/bin/mpirun -n 2 --bind-to core /opt/lockstep-worker train exp.yaml");
}

TEST(LaunchPlan, LetsWaitingRanksYieldWhenThereAreMoreThanCores) {
  const auto plan = plan_launch(request_for(3, 2));

  EXPECT_THAT(plan.argv, ElementsAre("/usr/bin/mpirun", "-n", "3", "--oversubscribe", "--bind-to",
                                     "none", "/opt/lockstep-worker", "train", "exp.yaml"));
  EXPECT_EQ(plan.environment.at("OMPI_MCA_mpi_yield_when_idle"), "1");
}

TEST(LaunchPlan, GivesEachRankAsManyCoresAsItHasThreads) {
  auto request = request_for(2, 8);
  request.threads = 4;
  EXPECT_THAT(plan_launch(request).argv,
              ElementsAre("/usr/bin/mpirun", "-n", "2", "--map-by", "slot:PE=4", "--bind-to",
                          "core", "/opt/lockstep-worker", "train", "exp.yaml"));

  request.threads = 5;
  EXPECT_THAT(plan_launch(request).argv,
              ElementsAre("/usr/bin/mpirun", "-n", "2", "--oversubscribe", "--bind-to", "none",
                          "/opt/lockstep-worker", "train", "exp.yaml"));
}

TEST(LaunchPlan, AllowsMpirunToRunAsRootOnlyForRoot) {
  auto request = request_for(2, 2);
  EXPECT_FALSE(plan_launch(request).environment.contains("OMPI_ALLOW_RUN_AS_ROOT"));

  request.root = true;
  const auto plan = plan_launch(request);
  EXPECT_EQ(plan.environment.at("OMPI_ALLOW_RUN_AS_ROOT"), "1");
  EXPECT_EQ(plan.environment.at("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"), "1");
}

TEST(LaunchPlan, NeverReplacesWhatTheUserHasSet) {
  auto request = request_for(2, 2);
  request.environment = {{"OMPI_MCA_btl_tcp_if_include", "eth0"},
                         {"OMPI_MCA_hwloc_base_binding_policy", "none"}};

  const auto plan = plan_launch(request);

  EXPECT_FALSE(plan.environment.contains("OMPI_MCA_btl_tcp_if_include"));
  EXPECT_THAT(plan.argv, Not(testing::Contains("--bind-to")));
}

TEST(LaunchPlan, LeavesRanksThatBindThemselvesUnbound) {
  // Bound to the first cores, all ranks would be at the NUMA node of the first GPUs.
  auto request = request_for(2, 16);
  request.threads = 4;
  request.binding = RankBinding::kByRanks;

  const auto plan = plan_launch(request);

  EXPECT_THAT(plan.argv, ElementsAre("/usr/bin/mpirun", "-n", "2", "--bind-to", "none",
                                     "/opt/lockstep-worker", "train", "exp.yaml"));
}

TEST(LaunchPlan, NamesTheHostsAndTheirSlots) {
  auto request = request_for(8, 4);
  request.hosts = parse_hosts("a:4,b:4");
  request.additions = {{"LOCKSTEP_COLOR", "never"}};
  request.environment = {{"LD_LIBRARY_PATH", "/opt/lib"}};

  const auto plan = plan_launch(request);

  EXPECT_EQ(shell_line(plan),
            "LOCKSTEP_COLOR=never OMPI_MCA_oob_tcp_keepalive_intvl=1 "
            "OMPI_MCA_oob_tcp_keepalive_probes=2 OMPI_MCA_oob_tcp_keepalive_time=2 "
            "/usr/bin/mpirun -n 8 --host a:4,b:4 --bind-to core "
            "-x LOCKSTEP_COLOR -x LD_LIBRARY_PATH /opt/lockstep-worker train exp.yaml");
}

TEST(LaunchPlan, StaysOffTheLoopbackInsideABatchJob) {
  auto request = request_for(2, 2);
  request.environment = {{"SLURM_JOB_ID", "7"}};

  EXPECT_FALSE(plan_launch(request).environment.contains("OMPI_MCA_btl_tcp_if_include"));
}

TEST(LaunchPlan, UsesSrunInsideASlurmJob) {
  auto request = request_for(4, 2);
  request.environment = {{"SLURM_JOB_ID", "7"}};
  request.srun = "/usr/bin/srun";

  const auto plan = plan_launch(request);

  EXPECT_EQ(plan.kind, LaunchKind::kSrun);
  EXPECT_EQ(shell_line(plan),
            "/usr/bin/srun --mpi=pmix -n 4 --kill-on-bad-exit=1 --distribution=block "
            "/opt/lockstep-worker train exp.yaml");
}

TEST(LaunchPlan, SharesTheMicroBatchesOutInContiguousRanges) {
  auto request = request_for(3, 4);
  request.micro_batches = 8;

  EXPECT_THAT(plan_launch(request).micro_batches,
              ElementsAre(comm::LeafRange{0, 3}, comm::LeafRange{3, 6}, comm::LeafRange{6, 8}));
}

TEST(LaunchPlan, RefusesMoreRanksThanMicroBatches) {
  auto request = request_for(8, 8);
  request.micro_batches = 4;

  EXPECT_THAT(error_of(base::ExitCode::kUsage, [&] { plan_launch(request); }),
              HasSubstr("8 ranks for 4 micro-batches"));
}

TEST(LaunchPlan, SaysWhichPackageBringsMpirun) {
  auto request = request_for(2, 2);
  request.mpirun = "";

  EXPECT_EQ(error_of(base::ExitCode::kEnvironment, [&] { plan_launch(request); }),
            "mpirun is not on the PATH (it starts 2 ranks); install the Debian package "
            "'openmpi-bin', or use --local for one process");
}

TEST(LaunchPlan, RefusesSeveralLocalRanks) {
  auto request = request_for(2, 2);
  request.launcher = "local";

  EXPECT_EQ(error_of(base::ExitCode::kUsage, [&] { plan_launch(request); }),
            "2 ranks were asked for with the local launcher (it runs one process without MPI); "
            "leave --ranks out, or use --launcher mpirun");
}

TEST(LaunchPlan, RefusesMoreRanksThanSlots) {
  auto request = request_for(9, 4);
  request.hosts = parse_hosts("a:4,b:4");

  EXPECT_THAT(error_of(base::ExitCode::kUsage, [&] { plan_launch(request); }),
              HasSubstr("9 ranks do not fit the hosts 'a:4,b:4' (8 slots in all)"));
}

TEST(LaunchPlan, RefusesNoRanks) {
  EXPECT_THAT(error_of(base::ExitCode::kUsage, [&] { plan_launch(request_for(0, 2)); }),
              HasSubstr("use --ranks 1 or more"));
}

TEST(LaunchPlan, NamesTheNearestLauncher) {
  auto request = request_for(2, 2);
  request.launcher = "mpirn";

  EXPECT_THAT(error_of(base::ExitCode::kUsage, [&] { plan_launch(request); }),
              HasSubstr("did you mean 'mpirun'?"));
}

TEST(ParseHosts, TakesOneSlotForAHostWithoutANumber) {
  const auto hosts = parse_hosts("node1,node2:3");

  ASSERT_EQ(hosts.size(), 2u);
  EXPECT_EQ(hosts[0].host, "node1");
  EXPECT_EQ(hosts[0].slots, 1);
  EXPECT_EQ(hosts[1].slots, 3);
}

TEST(ParseHosts, NamesThePartItCannotRead) {
  for (const char* text :
       {"a:0", "a:x", "a:", ":4", "a:4,,b", "-oProxy:1", "a b:1", "a:9999999999"}) {
    EXPECT_THAT(error_of(base::ExitCode::kUsage, [&] { parse_hosts(text); }),
                HasSubstr("write for example --hosts node1:4,node2:4"))
        << text;
  }
}

RC_GTEST_PROP(ParseHosts, EndsInHostsOrInAConfigError, (const std::string& text)) {
  try {
    for (const auto& host : parse_hosts(text)) {
      RC_ASSERT(!host.host.empty());
      RC_ASSERT(host.slots >= 1);
    }
  } catch (const base::ConfigError&) {
  }
}

TEST(ShellQuoted, LeavesPlainWordsAndQuotesTheOthers) {
  EXPECT_EQ(shell_quoted("a/b-c=1.5"), "a/b-c=1.5");
  EXPECT_EQ(shell_quoted(""), "''");
  EXPECT_EQ(shell_quoted("two words"), "'two words'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted("~model.hidden"), "'~model.hidden'");
  EXPECT_EQ(shell_quoted("a=[1,2]"), "'a=[1,2]'");
}

RC_GTEST_PROP(ShellQuoted, IsReadBackByAShell, ()) {
  const auto word = *rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127));
  LaunchPlan plan;
  plan.argv = {"printf", "%s.", word};
  const auto line = shell_line(plan);

  auto* pipe = popen(line.c_str(), "r");
  RC_ASSERT(pipe != nullptr);
  std::string output;
  for (int c = fgetc(pipe); c != EOF; c = fgetc(pipe)) output += static_cast<char>(c);
  pclose(pipe);

  RC_ASSERT(output == word + ".");
}

RC_GTEST_PROP(LaunchPlan, GivesEveryMicroBatchToExactlyOneRank, ()) {
  LaunchRequest request = request_for(*rc::gen::inRange(1, 64), 4);
  request.micro_batches = *rc::gen::inRange<std::int64_t>(request.ranks, 1000);

  const auto plan = plan_launch(request);

  std::int64_t next = 0;
  for (const auto& range : plan.micro_batches) {
    RC_ASSERT(range.begin == next);
    RC_ASSERT(range.end > range.begin);
    next = range.end;
  }
  RC_ASSERT(next == request.micro_batches);
}

}  // namespace
}  // namespace lockstep::launcher
