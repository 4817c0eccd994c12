#include "comm/topology.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.hpp"
#include "comm/serial_communicator.hpp"
#include "comm/thread_communicator.hpp"

namespace lockstep::comm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// What rank 0 finds when rank r is on hosts[r], and each host is a machine of its own.
std::vector<Topology> discover(const std::vector<std::string>& hosts, int ranks_per_node = 0) {
  std::vector<Topology> found(hosts.size());
  run_on_threads(static_cast<int>(hosts.size()), [&](Communicator& world) {
    const auto rank = static_cast<std::size_t>(world.rank());
    const HostIdentity host{.name = hosts[rank], .memory = "memory of " + hosts[rank]};
    found[rank] = discover_topology(world, host, ranks_per_node);
  });
  return found;
}

std::string refusal(const std::vector<std::string>& hosts, int ranks_per_node = 0) {
  try {
    discover(hosts, ranks_per_node);
  } catch (const base::EnvironmentError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Topology, OfOneRankIsOneNode) {
  SerialCommunicator world;

  const auto topology = discover_topology(world, this_host(), 0);

  EXPECT_EQ(topology.world_size, 1);
  EXPECT_EQ(topology.node_count, 1);
  EXPECT_EQ(topology.local_size, 1);
  EXPECT_THAT(topology.first_rank_of_node, ElementsAre(0, 1));
}

TEST(Topology, FindsUnevenNodes) {
  const auto found = discover({"a", "a", "a", "b", "c", "c"});

  EXPECT_THAT(found[4].node_of_rank, ElementsAre(0, 0, 0, 1, 2, 2));
  EXPECT_THAT(found[4].local_rank_of_rank, ElementsAre(0, 1, 2, 0, 0, 1));
  EXPECT_THAT(found[4].first_rank_of_node, ElementsAre(0, 3, 4, 6));
  EXPECT_THAT(found[4].host_of_rank, ElementsAre("a", "a", "a", "b", "c", "c"));
  EXPECT_EQ(found[4].rank, 4);
  EXPECT_EQ(found[4].node, 2);
  EXPECT_EQ(found[4].node_count, 3);
  EXPECT_EQ(found[4].local_rank, 0);
  EXPECT_EQ(found[4].local_size, 2);
  EXPECT_EQ(found[2].local_rank, 2);
  EXPECT_EQ(found[2].local_size, 3);
}

TEST(Topology, RefusesRanksThatAreDealtOutRoundRobin) {
  const auto text = refusal({"a", "b", "a", "b"});

  EXPECT_THAT(text, HasSubstr("rank 2 is on host 'a' again after rank 1 on host 'b'"));
  EXPECT_THAT(text, HasSubstr("'mpirun --map-by slot'"));
  EXPECT_THAT(text, HasSubstr("'srun --distribution=block'"));
}

TEST(Topology, CutsRanksIntoPretendNodes) {
  const auto found = discover({"a", "a", "a", "a", "a"}, 2);

  EXPECT_THAT(found[0].node_of_rank, ElementsAre(0, 0, 1, 1, 2));
  EXPECT_EQ(found[4].local_size, 1);
}

TEST(Topology, RefusesAPretendNodeOverTwoHosts) {
  EXPECT_THAT(refusal({"a", "a", "a", "b"}, 2),
              HasSubstr("would put ranks 2 and 3 of two hosts on one"));
}

TEST(Topology, TellsMachinesWithOneNameApartByTheirMemory) {
  run_on_threads(2, [](Communicator& world) {
    const HostIdentity host{.name = "localhost", .memory = std::to_string(world.rank())};

    EXPECT_EQ(discover_topology(world, host, 0).node_count, 2);
  });
}

TEST(ThisHost, IsTheSameWhenAskedAgain) {
  EXPECT_EQ(this_host().memory, this_host().memory);
  EXPECT_THAT(this_host().memory, HasSubstr(this_host().name));
}

}  // namespace
}  // namespace lockstep::comm
