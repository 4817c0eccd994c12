#include "comm/mpi_communicator.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <string>

#include "comm/agreement.hpp"
#include "comm/node_memory.hpp"
#include "comm/topology.hpp"
#include "tests/comm/communicator_contract.hpp"
#include "tests/comm/mpi_world.hpp"

namespace lockstep::comm {
namespace {

using ::testing::HasSubstr;
using ::testing::ValuesIn;
using tests::mpi_world;

const auto kNameOfCase = [](const auto& info) { return std::string(info.param.name); };

class MpiContract : public ::testing::TestWithParam<ContractCase> {};

TEST_P(MpiContract, Holds) { GetParam().check(mpi_world()); }

INSTANTIATE_TEST_SUITE_P(Communicator, MpiContract, ValuesIn(contract_cases()), kNameOfCase);
INSTANTIATE_TEST_SUITE_P(NodeMemory, MpiContract, ValuesIn(node_memory_contract_cases()),
                         kNameOfCase);

/// Each on a world of its own, which it leaves failed.
class MpiFailureContract : public ::testing::TestWithParam<ContractCase> {};

TEST_P(MpiFailureContract, Holds) {
  if (mpi_world().size() > 1) {
    const auto group = make_mpi_world();
    group->set_deadline(std::chrono::seconds(20));
    GetParam().check(*group);
  }
  mpi_world().barrier("the next test starts together");
}

INSTANTIATE_TEST_SUITE_P(Communicator, MpiFailureContract, ValuesIn(failure_contract_cases()),
                         kNameOfCase);

TEST(MpiCommunicator, NamesTheRankThatIsInAnotherOperationWhenADeadlinePasses) {
  const auto group = make_mpi_world();
  if (group->size() == 1) return;
  group->barrier("start");
  group->set_deadline(std::chrono::milliseconds(100));
  std::string text = "no error";
  try {
    if (group->rank() == 1) {
      std::byte byte{};
      const std::array receives{Receive{0, std::span(&byte, 1)}};
      group->set_deadline(std::chrono::seconds(20));
      group->exchange({}, receives, "gradients");
    } else {
      group->barrier("end of step");
    }
  } catch (const base::Error& error) {
    text = error.what();
  }

  EXPECT_THAT(text, HasSubstr("barrier 2 'end of step' on rank "));
  EXPECT_THAT(text, HasSubstr("rank 1 is in exchange 1 'gradients'"));
  mpi_world().barrier("the next test starts together");
}

TEST(Topology, FindsThatTheRanksOfThisMachineShareMemory) {
  const auto topology = discover_topology(mpi_world(), this_host(), 0);

  EXPECT_EQ(topology.node_count, 1);
  EXPECT_EQ(topology.local_size, mpi_world().size());
}

TEST(NodeMemory, ThatDoesNotFitSaysHowToMakeRoom) {
  if (mpi_world().size() == 1) return;
  std::string text = "it fitted";
  try {
    NodeMemory memory(mpi_world(), std::size_t{1} << 50, "parameters");
  } catch (const base::EnvironmentError& error) {
    text = error.what();
  }

  EXPECT_THAT(text, HasSubstr("node memory 'parameters' needs 1.0 PiB and /dev/shm has "));
  EXPECT_THAT(text, HasSubstr("run 'mount -o remount,size="));
}

}  // namespace
}  // namespace lockstep::comm
