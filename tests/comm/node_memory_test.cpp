#include "comm/node_memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "comm/mpi_session.hpp"
#include "comm/thread_communicator.hpp"

namespace lockstep::comm {
namespace {

using ::testing::HasSubstr;

TEST(NodeMemory, LargerThanMemoryIsAnEnvironmentErrorOnEveryRank) {
  run_on_threads(3, [](Communicator& node) {
    EXPECT_THROW(NodeMemory(node, std::size_t{1} << 60, "parameters"), base::EnvironmentError);
  });
}

TEST(MpiSession, RefusesAProcessThatNoLauncherStarted) {
  try {
    const MpiSession session({});
    FAIL() << "MPI started alone";
  } catch (const base::EnvironmentError& error) {
    EXPECT_THAT(error.what(), HasSubstr("was not started by mpirun or srun"));
  }
}

}  // namespace
}  // namespace lockstep::comm
