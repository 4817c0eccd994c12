#include "base/environment.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.hpp"

namespace lockstep::base {
namespace {

using Variables = std::map<std::string, std::string>;

TEST(LaunchedAs, IsOneProcessAloneWithoutALauncher) {
  const auto place = launched_as({});

  EXPECT_EQ(place.launcher, Launcher::kNone);
  EXPECT_EQ(place.rank, 0);
  EXPECT_EQ(place.world_size, 1);
  EXPECT_EQ(place.local_rank, 0);
}

TEST(LaunchedAs, ReadsOpenMpi) {
  const auto place = launched_as({{"OMPI_COMM_WORLD_RANK", "5"},
                                  {"OMPI_COMM_WORLD_SIZE", "8"},
                                  {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}});

  EXPECT_EQ(place.launcher, Launcher::kOpenMpi);
  EXPECT_EQ(place.rank, 5);
  EXPECT_EQ(place.world_size, 8);
  EXPECT_EQ(place.local_rank, 1);
}

TEST(LaunchedAs, PrefersMpirunInsideASlurmJobWhereEveryRankSeesSlurmProcid0) {
  const auto place = launched_as({{"SLURM_JOB_ID", "7"},
                                  {"SLURM_STEP_ID", "0"},
                                  {"SLURM_PROCID", "0"},
                                  {"SLURM_LOCALID", "0"},
                                  {"SLURM_STEP_NUM_TASKS", "2"},
                                  {"PMIX_RANK", "3"},
                                  {"OMPI_COMM_WORLD_RANK", "3"},
                                  {"OMPI_COMM_WORLD_SIZE", "4"},
                                  {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}});

  EXPECT_EQ(place.launcher, Launcher::kOpenMpi);
  EXPECT_EQ(place.rank, 3);
  EXPECT_EQ(place.world_size, 4);
  EXPECT_EQ(place.local_rank, 1);
}

TEST(LaunchedAs, ReadsPmixUnderSrun) {
  const auto place = launched_as({{"SLURM_STEP_ID", "0"},
                                  {"SLURM_PROCID", "2"},
                                  {"SLURM_LOCALID", "1"},
                                  {"SLURM_STEP_NUM_TASKS", "6"},
                                  {"PMIX_RANK", "2"}});

  EXPECT_EQ(place.launcher, Launcher::kPmix);
  EXPECT_EQ(place.rank, 2);
  EXPECT_EQ(place.world_size, 6);
  EXPECT_EQ(place.local_rank, 1);
}

TEST(LaunchedAs, SaysZeroRanksWhenPmixDoesNotTellTheSize) {
  EXPECT_EQ(launched_as({{"PMIX_RANK", "2"}}).world_size, 0);
}

TEST(LaunchedAs, ReadsPmiWithTheLocalRankOfHydra) {
  const auto place = launched_as(
      {{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}, {"MPI_LOCALRANKID", "1"}, {"SLURM_LOCALID", "0"}});

  EXPECT_EQ(place.launcher, Launcher::kPmi);
  EXPECT_EQ(place.rank, 3);
  EXPECT_EQ(place.world_size, 4);
  EXPECT_EQ(place.local_rank, 1);
}

// Every rank took local rank 0 under srun --mpi=pmi2, which sets no MPI_LOCALRANKID.
TEST(LaunchedAs, TakesTheLocalRankOfSlurmWhenPmiDoesNotTellIt) {
  const auto place = launched_as({{"PMI_RANK", "3"},
                                  {"PMI_SIZE", "4"},
                                  {"SLURM_STEP_ID", "0"},
                                  {"SLURM_PROCID", "3"},
                                  {"SLURM_LOCALID", "1"}});

  EXPECT_EQ(place.launcher, Launcher::kPmi);
  EXPECT_EQ(place.local_rank, 1);
}

TEST(LaunchedAs, ReadsASlurmStep) {
  const auto place = launched_as({{"SLURM_STEP_ID", "0"},
                                  {"SLURM_PROCID", "3"},
                                  {"SLURM_STEP_NUM_TASKS", "4"},
                                  {"SLURM_LOCALID", "1"}});

  EXPECT_EQ(place.launcher, Launcher::kSlurm);
  EXPECT_EQ(place.rank, 3);
  EXPECT_EQ(place.world_size, 4);
  EXPECT_EQ(place.local_rank, 1);
}

TEST(LaunchedAs, TakesAShellInAnAllocationForOneProcessAlone) {
  const auto place = launched_as({{"SLURM_JOB_ID", "7"}, {"SLURM_PROCID", "0"}});

  EXPECT_EQ(place.launcher, Launcher::kNone);
  EXPECT_EQ(place.world_size, 1);
}

TEST(LaunchedAs, RefusesWhatIsNotAWholeNumber) {
  for (const std::string value : {"", "two", "-1", "1.5", "3 ", "99999999999"}) {
    EXPECT_THROW(launched_as({{"OMPI_COMM_WORLD_RANK", value}}), EnvironmentError) << value;
  }
}

TEST(LaunchedAs, NamesTheVariableItCannotRead) {
  try {
    launched_as({{"OMPI_COMM_WORLD_RANK", "two"}});
    FAIL() << "not refused";
  } catch (const EnvironmentError& error) {
    EXPECT_STREQ(error.what(),
                 "environment variable OMPI_COMM_WORLD_RANK is 'two' (a launcher sets it to a "
                 "whole number); start through mpirun or srun, or unset it");
  }
}

TEST(EnvironmentVariable, TellsUnsetFromEmpty) {
  ::setenv("LOCKSTEP_TEST_EMPTY", "", 1);
  ::setenv("LOCKSTEP_TEST_EQUALS", "a=b=c", 1);
  ::unsetenv("LOCKSTEP_TEST_UNSET");

  EXPECT_EQ(environment_variable("LOCKSTEP_TEST_EMPTY"), "");
  EXPECT_EQ(environment_variable("LOCKSTEP_TEST_EQUALS"), "a=b=c");
  EXPECT_FALSE(environment_variable("LOCKSTEP_TEST_UNSET").has_value());
}

TEST(EnvironmentVariables, HoldAllOfThemCutAtTheFirstEqualsSign) {
  ::setenv("LOCKSTEP_TEST_EMPTY", "", 1);
  ::setenv("LOCKSTEP_TEST_EQUALS", "a=b=c", 1);
  ::unsetenv("LOCKSTEP_TEST_UNSET");

  const auto variables = environment_variables();

  EXPECT_EQ(variables.at("LOCKSTEP_TEST_EMPTY"), "");
  EXPECT_EQ(variables.at("LOCKSTEP_TEST_EQUALS"), "a=b=c");
  EXPECT_FALSE(variables.contains("LOCKSTEP_TEST_UNSET"));
}

TEST(Machine, HasANameAndAtLeastOneCore) {
  EXPECT_FALSE(host_name().empty());
  EXPECT_GE(available_cores(), 1);
}

TEST(IsTerminal, IsFalseForAPipe) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);

  EXPECT_FALSE(is_terminal(ends[0]));

  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(CacheDirectory, IsTheUsersOwn) {
  EXPECT_EQ(cache_directory({{"XDG_CACHE_HOME", "/c"}, {"HOME", "/h"}}), "/c/lockstep");
  EXPECT_EQ(cache_directory({{"XDG_CACHE_HOME", ""}, {"HOME", "/h"}}), "/h/.cache/lockstep");
  EXPECT_EQ(cache_directory({{"XDG_CACHE_HOME", "relative"}, {"HOME", "/h"}}),
            "/h/.cache/lockstep");
  EXPECT_EQ(cache_directory({}), "");
}

}  // namespace
}  // namespace lockstep::base
