#include "comm/numa_binding.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <thread>

#include "base/error.hpp"

namespace lockstep::comm {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Numbers = std::vector<int>;

/// Attributes of one of hwloc's objects that lies at these CPUs (a mask) and nodes.
std::string at(const std::string& cpus, const std::string& nodes) {
  return " cpuset=\"" + cpus + "\" complete_cpuset=\"" + cpus + "\" nodeset=\"" + nodes +
         "\" complete_nodeset=\"" + nodes + "\"";
}

class Xml {
 public:
  /// An object with a number, around what `inside` is.
  std::string object(const std::string& type, int number, const std::string& place,
                     const std::string& inside = "") {
    const auto head = "<object type=\"" + type + "\" os_index=\"" + std::to_string(number) + "\"" +
                      place + " gp_index=\"" + std::to_string(++objects_) + "\"";
    return inside.empty() ? head + "/>\n" : head + ">\n" + inside + "</object>\n";
  }
  std::string device(const std::string& pci) {
    return "<object type=\"PCIDev\" gp_index=\"" + std::to_string(++objects_) + "\" pci_busid=\"" +
           pci + "\" pci_type=\"0302 [10de:2335] [10de:18be] a1\" pci_link_speed=\"63.015385\"/>\n";
  }
  std::string core(int number) {
    const auto place =
        at(number < 2 ? (number == 0 ? "0x1" : "0x2") : (number == 2 ? "0x4" : "0x8"),
           number < 2 ? "0x1" : "0x2");
    return object("Core", number, place, object("PU", number, place));
  }
  std::string machine(const std::string& cpus, const std::string& nodes,
                      const std::string& inside) {
    return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE topology SYSTEM "
           "\"hwloc2.dtd\">\n<topology version=\"2.0\">\n" +
           object("Machine", 0,
                  at(cpus, nodes) + " allowed_cpuset=\"" + cpus + "\" allowed_nodeset=\"" + nodes +
                      "\"",
                  inside) +
           "</topology>\n";
  }

 private:
  int objects_ = 0;
};

constexpr char kAtNode0[] = "0000:1b:00.0";
constexpr char kAtNode1[] = "0001:9c:00.0";
constexpr char kAtBoth[] = "0000:03:00.0";

/// CPUs 0 and 1 at node 0, 2 and 3 at node 1, a device below each and one below neither.
NumaTopology two_nodes() {
  Xml xml;
  const auto first = at("0x3", "0x1");
  const auto second = at("0xc", "0x2");
  return NumaTopology::from_xml(xml.machine(
      "0xf", "0x3",
      xml.object(
          "Package", 0, first,
          xml.object("NUMANode", 0, first) + xml.core(0) + xml.core(1) + xml.device(kAtNode0)) +
          xml.object("Package", 1, second,
                     xml.object("NUMANode", 1, second) + xml.core(2) + xml.core(3) +
                         xml.device(kAtNode1)) +
          xml.device(kAtBoth)));
}

NumaTopology one_node() {
  Xml xml;
  const auto all = at("0x3", "0x1");
  return NumaTopology::from_xml(xml.machine(
      "0x3", "0x1",
      xml.object(
          "Package", 0, all,
          xml.object("NUMANode", 0, all) + xml.core(0) + xml.core(1) + xml.device(kAtNode0))));
}

/// Node 0 is main memory; node 2, at the same CPUs, is memory of another kind.
NumaTopology node_of_other_memory() {
  Xml xml;
  const auto first = at("0x3", "0x5");
  const auto second = at("0xc", "0x2");
  return NumaTopology::from_xml(
      xml.machine("0xf", "0x7",
                  xml.object("Package", 0, first,
                             xml.object("NUMANode", 2, at("0x3", "0x4")) +
                                 xml.object("NUMANode", 0, at("0x3", "0x1")) + xml.core(0) +
                                 xml.core(1) + xml.device(kAtNode0)) +
                      xml.object("Package", 1, second,
                                 xml.object("NUMANode", 1, second) + xml.core(2) + xml.core(3))));
}

NumaBinding decide(const NumaTopology& topology, const std::string& pci, const Numbers& bound) {
  return decide_numa_binding(topology.nodes(), topology.nearest_to(pci), bound);
}

TEST(NumaTopology, KnowsNodesAndWhatIsNextToADevice) {
  const auto topology = two_nodes();

  ASSERT_EQ(topology.nodes().size(), 2);
  EXPECT_EQ(topology.nodes()[0].number, 0);
  EXPECT_THAT(topology.nodes()[0].cpus, ElementsAre(0, 1));
  EXPECT_EQ(topology.nodes()[1].number, 1);
  EXPECT_THAT(topology.nodes()[1].cpus, ElementsAre(2, 3));
  EXPECT_THAT(topology.nearest_to(kAtNode0), ElementsAre(0));
  EXPECT_THAT(topology.nearest_to(kAtNode1), ElementsAre(1));
  EXPECT_THAT(topology.nearest_to(kAtBoth), ElementsAre(0, 1));
  EXPECT_THAT(topology.nearest_to("0000:77:00.0"), IsEmpty());
  EXPECT_THAT(topology.nearest_to("no address"), IsEmpty());
}

TEST(NumaTopology, TakesMainMemoryWhereNodesShareTheirCpus) {
  const auto topology = node_of_other_memory();

  ASSERT_EQ(topology.nodes().size(), 2);
  EXPECT_THAT(decide(topology, kAtNode0, {0, 1, 2, 3}).nodes, ElementsAre(0));
}

TEST(NumaTopology, RefusesTextThatIsNoTopology) {
  EXPECT_THROW(NumaTopology::from_xml("<topology>"), base::EnvironmentError);
}

TEST(NumaBinding, TakesAFreeRankToTheNodeOfItsGpu) {
  const auto binding = decide(two_nodes(), kAtNode1, {0, 1, 2, 3});

  EXPECT_EQ(binding.outcome, NumaOutcome::kBind);
  EXPECT_THAT(binding.cpus, ElementsAre(2, 3));
  EXPECT_THAT(binding.nodes, ElementsAre(1));
  EXPECT_EQ(binding.reason,
            "its GPU is at NUMA node 1: threads on CPUs 2-3, memory of NUMA node 1");
}

TEST(NumaBinding, KeepsABindingThatFitsAndAddsTheMemory) {
  const auto half = decide(two_nodes(), kAtNode1, {2, 3});
  EXPECT_EQ(half.outcome, NumaOutcome::kBind);
  EXPECT_THAT(half.cpus, ElementsAre(2, 3));
  EXPECT_THAT(half.nodes, ElementsAre(1));

  // As mpirun binds to cores.
  EXPECT_THAT(decide(two_nodes(), kAtNode1, {3}).cpus, ElementsAre(3));
  EXPECT_THAT(decide(two_nodes(), kAtNode0, {1, 2}).cpus, ElementsAre(1));
}

TEST(NumaBinding, LeavesABindingElsewhereAndSaysSo) {
  const auto binding = decide(two_nodes(), kAtNode1, {0, 1});

  EXPECT_EQ(binding.outcome, NumaOutcome::kLeftAsBound);
  EXPECT_THAT(binding.cpus, ElementsAre(0, 1));
  EXPECT_THAT(binding.nodes, IsEmpty());
  EXPECT_EQ(binding.reason,
            "this rank is bound to CPUs 0-1, its GPU is at CPUs 2-3 of NUMA node 1 (what goes to "
            "the GPU crosses the machine); start it with 'mpirun --bind-to none' or 'srun "
            "--cpu-bind=none', or with a binding that fits its GPU");
}

TEST(NumaBinding, DoesNothingWhereNoNodeIsNearer) {
  const auto check = [](const NumaBinding& binding, const Numbers& bound, const char* reason) {
    EXPECT_EQ(binding.outcome, NumaOutcome::kNothingToDo);
    EXPECT_EQ(binding.cpus, bound);
    EXPECT_THAT(binding.nodes, IsEmpty());
    EXPECT_EQ(binding.reason, reason);
  };

  check(decide(one_node(), kAtNode0, {0, 1}), {0, 1}, "the machine has one NUMA node");
  check(decide(two_nodes(), "0000:77:00.0", {0, 1, 2, 3}), {0, 1, 2, 3},
        "the NUMA node of its GPU is not known");
  check(decide(two_nodes(), kAtBoth, {0, 1}), {0, 1},
        "its GPU is as near to one NUMA node as to another");
}

TEST(NumaBinding, PlacesTheSlicesOfOneGpuAlike) {
  // A MIG slice has the PCI address of its GPU; its ranks share the node's CPUs.
  const auto first = decide(two_nodes(), kAtNode0, {0, 1, 2, 3});
  const auto second = decide(two_nodes(), kAtNode0, {0, 1, 2, 3});

  EXPECT_THAT(first.cpus, ElementsAre(0, 1));
  EXPECT_EQ(first.cpus, second.cpus);
}

TEST(NumaBinding, TakesAllNodesOfAPackageThatHasSeveral) {
  const std::vector<NumaNode> nodes{{0, {0, 1}}, {1, {2, 3}}, {2, {4, 5}}, {3, {6, 7}}};

  const auto binding = decide_numa_binding(nodes, Numbers{2, 3}, Numbers{0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_THAT(binding.cpus, ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(binding.nodes, ElementsAre(2, 3));

  const auto bound = decide_numa_binding(nodes, Numbers{2, 3}, Numbers{3, 4});
  EXPECT_THAT(bound.cpus, ElementsAre(4));
  EXPECT_THAT(bound.nodes, ElementsAre(2));
}

RC_GTEST_PROP(NumaBinding, AlwaysLeavesCpusThatTheProcessHad, ()) {
  const int node_count = *rc::gen::inRange(1, 5);
  std::vector<NumaNode> nodes;
  for (int number = 0; number < node_count; ++number) nodes.push_back({number, {}});
  const int cpu_count = node_count + *rc::gen::inRange(0, 12);
  for (int cpu = 0; cpu < cpu_count; ++cpu) {
    const int node = cpu < node_count ? cpu : *rc::gen::inRange(0, node_count);
    nodes[static_cast<std::size_t>(node)].cpus.push_back(cpu);
  }
  const auto some = [](int end) {
    const auto taken = *rc::gen::container<std::vector<bool>>(static_cast<std::size_t>(end),
                                                              rc::gen::arbitrary<bool>());
    Numbers numbers;
    for (int number = 0; number < end; ++number) {
      if (taken[static_cast<std::size_t>(number)]) numbers.push_back(number);
    }
    return numbers;
  };
  const auto nearest = some(node_count);
  // Numbers that the topology does not know among them.
  auto bound = some(cpu_count + 3);
  if (bound.empty()) bound.push_back(*rc::gen::inRange(0, cpu_count + 3));

  const auto binding = decide_numa_binding(nodes, nearest, bound);

  RC_ASSERT(!binding.cpus.empty());
  RC_ASSERT(std::ranges::includes(bound, binding.cpus));
  RC_ASSERT((binding.outcome == NumaOutcome::kBind) == !binding.nodes.empty());
  RC_ASSERT(binding.outcome == NumaOutcome::kBind || binding.cpus == bound);
  RC_ASSERT(std::ranges::includes(nearest, binding.nodes));
}

TEST(NumaBinding, CanBeCarriedOutOnThisMachine) {
  // On threads of their own: the others of this program stay where they are.
  const auto topology = NumaTopology::of_this_machine();
  ASSERT_FALSE(topology.nodes().empty());
  const auto before = topology.bound_cpus();
  ASSERT_FALSE(before.empty());
  const NumaBinding binding{.outcome = NumaOutcome::kBind,
                            .cpus = {before.front()},
                            .nodes = {topology.nodes().front().number},
                            .reason = ""};
  std::string refused;
  Numbers bound;
  Numbers inherited;
  std::string memory;

  std::thread([&] {
    refused = topology.bind(binding);
    bound = topology.bound_cpus();
    std::thread([&] { inherited = topology.bound_cpus(); }).join();
    std::ifstream maps("/proc/thread-self/numa_maps");
    memory.assign(std::istreambuf_iterator<char>(maps), {});
  }).join();

  EXPECT_THAT(bound, ElementsAre(before.front()));
  EXPECT_EQ(inherited, bound);
  EXPECT_EQ(topology.bound_cpus(), before);
  // Containers may forbid memory policies.
  EXPECT_THAT(refused, testing::AnyOf("", HasSubstr("hwloc_set_membind")));
  if (refused.empty()) {
    EXPECT_THAT(memory, AllOf(HasSubstr("prefer"), testing::Not(HasSubstr("bind:"))));
  }
}

TEST(NumaBinding, ChangesNothingWhenThereIsNothingToDo) {
  const auto topology = NumaTopology::of_this_machine();
  const auto before = topology.bound_cpus();

  EXPECT_EQ(topology.bind(decide(topology, "0000:77:00.0", before)), "");

  EXPECT_EQ(topology.bound_cpus(), before);
}

TEST(NumberList, WritesRunsAsTheKernelDoes) {
  EXPECT_EQ(number_list(Numbers{}), "");
  EXPECT_EQ(number_list(Numbers{7}), "7");
  EXPECT_EQ(number_list(Numbers{0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
}

}  // namespace
}  // namespace lockstep::comm
