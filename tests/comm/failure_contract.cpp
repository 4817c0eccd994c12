#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "comm/node_memory.hpp"
#include "tests/comm/communicator_contract.hpp"

namespace lockstep::comm {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

/// Ends when the group has failed, as a rank does that computes and looks up now and then. Throws
/// the first reason. A group that never fails runs into the test's own time limit.
void compute_until_failure(Communicator& group) {
  for (;;) {
    group.check();
    sched_yield();
  }
}

struct Ending {
  std::string text = "no error";
  base::ExitCode code = base::ExitCode::kDone;
};

Ending ending_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const base::Error& error) {
    return {error.what(), error.code()};
  }
  return {};
}

/// The last rank fails while the others wait in `wait`: all of those end with its reason. A slow
/// rank may hear of it as early as in the starting barrier.
void wakes(Communicator& group, const std::function<void(Communicator&)>& wait) {
  if (group.rank() == group.size() - 1) {
    group.barrier("start");
    group.fail("rank 9: file 'x' is gone", base::ExitCode::kData);
    return;
  }
  const auto ending = ending_of([&] {
    group.barrier("start");
    wait(group);
  });
  EXPECT_EQ(ending.text, "rank 9: file 'x' is gone");
  EXPECT_EQ(ending.code, base::ExitCode::kData);
}

void fail_wakes_a_barrier(Communicator& group) {
  wakes(group, [](Communicator& all) { all.barrier("never whole"); });
}

void fail_wakes_an_all_reduce(Communicator& group) {
  wakes(group, [](Communicator& all) {
    std::vector<float> values(100000);
    all.all_reduce(std::span<float>(values), ReduceOp::kSum, "never whole");
  });
}

void fail_wakes_an_exchange(Communicator& group) {
  wakes(group, [](Communicator& all) {
    std::vector<std::byte> in(10);
    const std::array receives{Receive{all.size() - 1, in}};
    all.exchange({}, receives, "never sent");
  });
}

void fail_wakes_relatives_by_split(Communicator& group) {
  const auto part = group.split(group.rank() / 2, 0, "pairs");
  if (group.rank() == group.size() - 1) {
    group.barrier("start");
    part->fail("rank 9: file 'x' is gone", base::ExitCode::kData);
    return;
  }
  const auto ending = ending_of([&] {
    group.barrier("start");
    group.barrier("never whole");
  });
  EXPECT_EQ(ending.text, "rank 9: file 'x' is gone");
  EXPECT_EQ(ending_of([&] { part->barrier("afterwards"); }).text, "rank 9: file 'x' is gone");
}

void a_failure_stays(Communicator& group) {
  wakes(group, [](Communicator& all) { all.barrier("never whole"); });
  const auto part_of = [&] { group.split(0, 0, "afterwards"); };
  EXPECT_EQ(ending_of([&] { group.barrier("afterwards"); }).text, "rank 9: file 'x' is gone");
  EXPECT_EQ(ending_of(part_of).text, "rank 9: file 'x' is gone");
  EXPECT_EQ(ending_of([&] { group.check(); }).code, base::ExitCode::kData);
  group.fail("a later reason", base::ExitCode::kFailed);
  ASSERT_TRUE(group.failure().has_value());
  EXPECT_EQ(group.failure()->reason, "rank 9: file 'x' is gone");
  EXPECT_EQ(group.failure()->rank, group.size() - 1);
}

void a_missed_deadline_names_the_operation_and_the_late_rank(Communicator& group) {
  const int late = group.size() - 1;
  const auto ending = ending_of([&] {
    group.barrier("start");
    group.set_deadline(milliseconds(50));
    if (group.rank() == late) compute_until_failure(group);
    group.barrier("end of epoch");
  });

  EXPECT_THAT(ending.text,
              AllOf(HasSubstr("barrier 2 'end of epoch' on rank "), HasSubstr(" waited 50ms "),
                    HasSubstr("(rank " + std::to_string(late) + " has not arrived)"),
                    HasSubstr("launch.deadline_seconds")));
}

void a_missed_deadline_of_an_exchange_names_the_peer(Communicator& group) {
  const auto ending = ending_of([&] {
    group.barrier("start");
    group.set_deadline(milliseconds(50));
    if (group.rank() != 0) compute_until_failure(group);
    std::vector<std::byte> in(10);
    const std::array receives{Receive{1, in}};
    group.exchange({}, receives, "gradients");
  });

  EXPECT_THAT(ending.text, AllOf(HasSubstr("exchange 1 'gradients' on rank 0 waited 50ms"),
                                 HasSubstr("(rank 1 has not arrived)")));
}

void too_long_a_message_is_named_with_both_sizes(Communicator& group) {
  std::vector<std::byte> bytes(group.rank() == 0 ? 30 : 20);
  const auto ending = ending_of([&] {
    group.barrier("start");
    if (group.rank() == 0) {
      const std::array sends{Send{1, bytes}};
      group.exchange(sends, {}, "sizes");
    } else if (group.rank() == 1) {
      const std::array receives{Receive{0, bytes}};
      group.exchange({}, receives, "sizes");
    }
    compute_until_failure(group);
  });

  EXPECT_THAT(ending.text, HasSubstr("'sizes' got 30 bytes from rank 0 where rank 1 expects 20"));
}

void too_short_a_message_is_named_with_both_sizes(Communicator& group) {
  std::vector<std::byte> bytes(group.rank() == 0 ? 0 : 20);
  const auto ending = ending_of([&] {
    group.barrier("start");
    if (group.rank() == 0) {
      const std::array sends{Send{1, bytes}};
      group.exchange(sends, {}, "sizes");
    } else if (group.rank() == 1) {
      const std::array receives{Receive{0, bytes}};
      group.exchange({}, receives, "sizes");
    }
    compute_until_failure(group);
  });

  EXPECT_THAT(ending.text, HasSubstr("'sizes' got 0 bytes from rank 0 where rank 1 expects 20"));
}

void a_broken_contract_on_one_rank_wakes_the_others(Communicator& group) {
  const auto ending = ending_of([&] {
    std::vector<std::byte> bytes(4);
    group.broadcast(bytes, group.rank() == 0 ? 99 : 0, "weights");
    compute_until_failure(group);
  });

  EXPECT_THAT(ending.text, HasSubstr("broadcast 1 'weights' has a root outside the group"));
}

void different_collectives_are_found_by_the_next_barrier(Communicator& group) {
  const auto ending = ending_of([&] {
    std::vector<std::byte> bytes(4);
    group.broadcast(bytes, 0, group.rank() == 1 ? "biases" : "weights");
    group.barrier("end of step");
  });

  EXPECT_THAT(ending.text,
              AnyOf(HasSubstr("rank 1 is in broadcast 1 'biases' of 4 bytes while rank 0 is in "
                              "broadcast 1 'weights' of 4 bytes"),
                    HasSubstr("rank 1 did not call the same collectives as rank 0 up to barrier 2 "
                              "'end of step'")));
}

void fail_of_the_group_wakes_a_node_barrier(Communicator& group) {
  NodeMemory memory(group, 64, "test");
  wakes(group, [&](Communicator&) {
    memory.barrier().arrive_and_wait(std::chrono::minutes(1), "never whole");
  });
}

void fail_of_a_node_barrier_wakes_the_group(Communicator& group) {
  if (group.rank() == 0) {
    NodeMemory memory(group, 64, "test");
    memory.barrier().fail("rank 0: out of luck", base::ExitCode::kDiverged);
    return;
  }
  const auto ending = ending_of([&] {
    NodeMemory memory(group, 64, "test");
    if (group.rank() % 2 == 0) {
      group.barrier("never whole");
    } else {
      memory.barrier().arrive_and_wait(std::chrono::minutes(1), "never whole");
    }
  });
  EXPECT_EQ(ending.text, "rank 0: out of luck");
  EXPECT_EQ(ending.code, base::ExitCode::kDiverged);
  ASSERT_TRUE(group.failure().has_value());
  EXPECT_EQ(group.failure()->rank, 0);
}

void a_missed_deadline_of_a_node_barrier_names_the_late_rank(Communicator& group) {
  const auto ending = ending_of([&] {
    NodeMemory memory(group, 64, "test");
    if (group.rank() == 1) compute_until_failure(group);
    memory.barrier().arrive_and_wait(milliseconds(50), "gradients ready");
  });

  EXPECT_THAT(ending.text, AllOf(HasSubstr("node barrier 'gradients ready' on rank "),
                                 HasSubstr(" waited 50ms (rank 1 has not arrived)")));
}

constexpr std::array kFailureContract{
    ContractCase{"FailWakesABarrier", fail_wakes_a_barrier},
    ContractCase{"FailWakesAnAllReduce", fail_wakes_an_all_reduce},
    ContractCase{"FailWakesAnExchange", fail_wakes_an_exchange},
    ContractCase{"FailWakesRelativesBySplit", fail_wakes_relatives_by_split},
    ContractCase{"AFailureStays", a_failure_stays},
    ContractCase{"AMissedDeadlineNamesTheOperationAndTheLateRank",
                 a_missed_deadline_names_the_operation_and_the_late_rank},
    ContractCase{"AMissedDeadlineOfAnExchangeNamesThePeer",
                 a_missed_deadline_of_an_exchange_names_the_peer},
    ContractCase{"TooLongAMessageIsNamedWithBothSizes",
                 too_long_a_message_is_named_with_both_sizes},
    ContractCase{"TooShortAMessageIsNamedWithBothSizes",
                 too_short_a_message_is_named_with_both_sizes},
    ContractCase{"ABrokenContractOnOneRankWakesTheOthers",
                 a_broken_contract_on_one_rank_wakes_the_others},
    ContractCase{"DifferentCollectivesAreFoundByTheNextBarrier",
                 different_collectives_are_found_by_the_next_barrier},
    ContractCase{"FailOfTheGroupWakesANodeBarrier", fail_of_the_group_wakes_a_node_barrier},
    ContractCase{"FailOfANodeBarrierWakesTheGroup", fail_of_a_node_barrier_wakes_the_group},
    ContractCase{"AMissedDeadlineOfANodeBarrierNamesTheLateRank",
                 a_missed_deadline_of_a_node_barrier_names_the_late_rank},
};

}  // namespace

std::span<const ContractCase> failure_contract_cases() { return kFailureContract; }

}  // namespace lockstep::comm
