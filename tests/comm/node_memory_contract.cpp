#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "comm/node_memory.hpp"
#include "tests/comm/communicator_contract.hpp"

namespace lockstep::comm {
namespace {

constexpr std::chrono::seconds kDeadline{30};

std::span<std::int64_t> numbers_in(NodeMemory& memory) {
  return {reinterpret_cast<std::int64_t*>(memory.bytes().data()), memory.bytes().size() / 8};
}

void starts_zeroed_and_page_aligned(Communicator& node) {
  NodeMemory memory(node, 100001, "test");

  EXPECT_EQ(memory.bytes().size(), 100001U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.bytes().data()) % 4096, 0U);
  EXPECT_TRUE(std::all_of(memory.bytes().begin(), memory.bytes().end(),
                          [](std::byte each) { return each == std::byte{0}; }));
}

void shows_every_rank_what_the_others_wrote(Communicator& node) {
  NodeMemory memory(node, static_cast<std::size_t>(node.size()) * 8, "test");
  const auto numbers = numbers_in(memory);
  for (std::int64_t round = 1; round <= 300; ++round) {
    numbers[static_cast<std::size_t>(node.rank())] = round * 100 + node.rank();
    memory.barrier().arrive_and_wait(kDeadline, "written");
    for (int rank = 0; rank < node.size(); ++rank) {
      ASSERT_EQ(numbers[static_cast<std::size_t>(rank)], round * 100 + rank);
    }
    memory.barrier().arrive_and_wait(kDeadline, "read");
  }
}

void may_be_empty_and_may_exist_several_times(Communicator& node) {
  NodeMemory empty(node, 0, "empty");
  NodeMemory first(node, 8, "first");
  NodeMemory second(node, 8, "second");
  EXPECT_TRUE(empty.bytes().empty());
  if (node.rank() == 0) {
    numbers_in(first)[0] = 1;
    numbers_in(second)[0] = 2;
  }
  empty.barrier().arrive_and_wait(kDeadline, "written");
  EXPECT_EQ(numbers_in(first)[0], 1);
  EXPECT_EQ(numbers_in(second)[0], 2);
}

constexpr std::array kCases{
    ContractCase{"NodeMemoryStartsZeroedAndPageAligned", starts_zeroed_and_page_aligned},
    ContractCase{"NodeMemoryShowsEveryRankWhatTheOthersWrote",
                 shows_every_rank_what_the_others_wrote},
    ContractCase{"NodeMemoryMayBeEmptyAndMayExistSeveralTimes",
                 may_be_empty_and_may_exist_several_times},
};

}  // namespace

std::span<const ContractCase> node_memory_contract_cases() { return kCases; }

}  // namespace lockstep::comm
