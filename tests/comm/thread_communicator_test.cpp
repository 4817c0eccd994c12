#include "comm/thread_communicator.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <string>
#include <tuple>

#include "comm/serial_communicator.hpp"
#include "tests/comm/communicator_contract.hpp"

namespace lockstep::comm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Values;
using ::testing::ValuesIn;

class SerialContract : public ::testing::TestWithParam<ContractCase> {};

TEST_P(SerialContract, Holds) {
  SerialCommunicator group;
  GetParam().check(group);
}

const auto kNameOfCase = [](const auto& info) { return std::string(info.param.name); };
INSTANTIATE_TEST_SUITE_P(Communicator, SerialContract, ValuesIn(contract_cases()), kNameOfCase);
INSTANTIATE_TEST_SUITE_P(NodeMemory, SerialContract, ValuesIn(node_memory_contract_cases()),
                         kNameOfCase);

using RanksAndCase = std::tuple<int, ContractCase>;
class ThreadContract : public ::testing::TestWithParam<RanksAndCase> {};

TEST_P(ThreadContract, Holds) {
  const auto& [ranks, each] = GetParam();
  run_on_threads(ranks, [&each = each](Communicator& group) {
    group.set_deadline(std::chrono::seconds(20));
    each.check(group);
    // A check that gave up on one rank has left the others waiting.
    if (::testing::Test::HasFailure()) group.fail("a check failed", base::ExitCode::kFailed);
  });
}

const auto kNameWithRanks = [](const auto& info) {
  return std::string(std::get<1>(info.param).name) + "On" + std::to_string(std::get<0>(info.param));
};
INSTANTIATE_TEST_SUITE_P(Communicator, ThreadContract,
                         ::testing::Combine(Values(1, 2, 3, 4, 7), ValuesIn(contract_cases())),
                         kNameWithRanks);
INSTANTIATE_TEST_SUITE_P(NodeMemory, ThreadContract,
                         ::testing::Combine(Values(1, 2, 3, 4, 7),
                                            ValuesIn(node_memory_contract_cases())),
                         kNameWithRanks);
INSTANTIATE_TEST_SUITE_P(Failures, ThreadContract,
                         ::testing::Combine(Values(2, 3, 4, 7), ValuesIn(failure_contract_cases())),
                         kNameWithRanks);

std::string failure_of(int ranks, const std::function<void(Communicator&)>& rank_main) {
  try {
    run_on_threads(ranks, rank_main);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no error";
}

TEST(ThreadCommunicator, NamesTwoRanksThatCallDifferentCollectives) {
  const auto text = failure_of(2, [](Communicator& group) {
    std::array<std::byte, 4> bytes{};
    if (group.rank() == 0) {
      group.barrier("end of step");
    } else {
      group.broadcast(bytes, 0, "weights");
    }
  });

  EXPECT_THAT(text, HasSubstr("rank 1 is in broadcast 1 'weights' of 4 bytes while rank 0 is in "
                              "barrier 1 'end of step' of 8 bytes"));
}

TEST(ThreadCommunicator, NamesTwoRanksThatBroadcastDifferentSizes) {
  const auto text = failure_of(2, [](Communicator& group) {
    std::vector<std::byte> bytes(group.rank() == 0 ? 4 : 8);
    group.broadcast(bytes, 0, "weights");
  });

  EXPECT_THAT(text, AllOf(HasSubstr("of 8 bytes"), HasSubstr("of 4 bytes")));
}

TEST(ThreadCommunicator, RefusesSelfMessagesThatDoNotPairUp) {
  const auto text = failure_of(1, [](Communicator& group) {
    const std::array<std::byte, 2> bytes{};
    const std::array sends{Send{0, bytes}};
    group.exchange(sends, {}, "to myself");
  });

  EXPECT_THAT(text, HasSubstr("exchange 1 'to myself' sends more to itself than it receives"));
}

TEST(ThreadCommunicator, GivesEveryRankTheSameFirstReasonWhenAllFailAtOnce) {
  constexpr int kRanks = 7;
  std::array<std::string, kRanks> reasons;
  run_on_threads(kRanks, [&](Communicator& group) {
    group.fail("reason of rank " + std::to_string(group.rank()), base::ExitCode::kFailed);
    try {
      group.barrier("end");
    } catch (const base::CommError& error) {
      reasons[static_cast<std::size_t>(group.rank())] = error.what();
    }
  });

  EXPECT_THAT(reasons[0], HasSubstr("reason of rank "));
  for (const auto& reason : reasons) EXPECT_EQ(reason, reasons[0]);
}

TEST(RunOnThreads, RethrowsTheFirstFailureAndNotItsConsequences) {
  const auto run = [] {
    run_on_threads(4, [](Communicator& group) {
      if (group.rank() == 2) throw base::DataError("row 7 is damaged");
      group.barrier("the others wait");
    });
  };

  EXPECT_THROW(run(), base::DataError);
}

TEST(RunOnThreads, WakesTheOthersWhenARankThrowsSomethingForeign) {
  EXPECT_EQ(failure_of(3,
                       [](Communicator& group) {
                         if (group.rank() == 0) throw std::runtime_error("foreign");
                         group.barrier("the others wait");
                       }),
            "foreign");
}

}  // namespace
}  // namespace lockstep::comm
