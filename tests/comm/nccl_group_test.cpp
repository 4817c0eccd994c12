// The NCCL backend against a fake library and device: what it computes, in which order, and that
// nothing that the library does wrong makes a rank hang or fail without a word.

#include "comm/nccl_group.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "comm/thread_communicator.hpp"
#include "tests/comm/fake_gpu.hpp"

namespace lockstep::comm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::AllOf;
using testing::AnyOf;
using testing::Each;
using testing::HasSubstr;
using tests::FakeDevice;
using tests::FakeNccl;
using tests::NcclFaults;

struct Rank {
  Communicator& control;
  FakeDevice& device;
  NcclGroup& group;
};

class NcclGroupTest : public testing::Test {
 protected:
  /// Runs `body` as every rank. Returns what each rank ended with; empty when well.
  std::vector<std::string> on_ranks(int ranks, const std::function<void(Rank)>& body,
                                    std::map<int, NcclFaults> faults = {},
                                    milliseconds deadline = std::chrono::seconds(20)) {
    nccl_ = std::make_shared<FakeNccl>(std::move(faults));
    std::vector<std::string> endings(static_cast<std::size_t>(ranks));
    run_on_threads(ranks, [&](Communicator& control) {
      FakeNccl::rank_of_thread = control.rank();
      control.set_deadline(deadline);
      try {
        NcclGroup group(nccl_, device_, control);
        body({control, device_, group});
      } catch (const base::Error& error) {
        endings[static_cast<std::size_t>(control.rank())] = error.what();
        control.fail(error.what(), error.code());
      }
    });
    nccl_->let_go();
    return endings;
  }

  FakeDevice device_;
  std::shared_ptr<FakeNccl> nccl_;
};

template <class Value>
std::vector<Value> values_of(int rank, std::size_t count) {
  std::vector<Value> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = static_cast<Value>((rank + 1) * 1000) + static_cast<Value>(i);
  }
  return values;
}

TEST_F(NcclGroupTest, ReducesGathersAndScattersAsItsNamesSay) {
  for (const int ranks : {1, 2, 3, 4}) {
    for (const int polls : {0, 3}) {
      std::map<int, NcclFaults> slow;
      for (int rank = 0; rank < ranks; ++rank) slow[rank].polls = polls;
      const auto endings = on_ranks(
          ranks,
          [&](Rank at) {
            constexpr std::size_t kCount = 5;
            const int rank = at.group.rank();
            const auto size = static_cast<std::size_t>(ranks);
            const auto sum_of_ranks = static_cast<float>(ranks * (ranks + 1) / 2 * 1000);

            const auto in = values_of<float>(rank, kCount);
            std::vector<float> sum(kCount), most = in;
            at.group.all_reduce(in.data(), sum.data(), kCount, DeviceType::kFloat32, ReduceOp::kSum,
                                "sum");
            at.group.all_reduce(most.data(), most.data(), kCount, DeviceType::kFloat32,
                                ReduceOp::kMax, "most");
            const auto wide = values_of<double>(rank, kCount * size);
            std::vector<double> part(kCount);
            at.group.reduce_scatter(wide.data(), part.data(), kCount, DeviceType::kFloat64,
                                    ReduceOp::kSum, "scatter");
            std::vector<float> gathered(kCount * size);
            at.group.all_gather(in.data(), gathered.data(), kCount, DeviceType::kFloat32, "gather");
            auto told = values_of<std::int64_t>(rank, kCount);
            at.group.broadcast(told.data(), kCount, DeviceType::kInt64, ranks - 1, "broadcast");
            at.group.wait("results");

            for (std::size_t i = 0; i < kCount; ++i) {
              const auto place = static_cast<std::size_t>(rank) * kCount + i;
              EXPECT_EQ(sum[i], sum_of_ranks + static_cast<float>(ranks) * static_cast<float>(i));
              EXPECT_EQ(most[i], static_cast<float>(ranks * 1000) + static_cast<float>(i));
              EXPECT_EQ(part[i], sum_of_ranks + ranks * static_cast<double>(place));
              EXPECT_EQ(told[i], ranks * 1000 + static_cast<std::int64_t>(i));
              for (int other = 0; other < ranks; ++other) {
                EXPECT_EQ(gathered[static_cast<std::size_t>(other) * kCount + i],
                          values_of<float>(other, kCount)[i]);
              }
            }
          },
          slow);
      EXPECT_THAT(endings, Each(""));
      EXPECT_EQ(nccl_->destroyed(), ranks);
      EXPECT_EQ(nccl_->aborted(), 0);
    }
  }
  EXPECT_EQ(device_.streams(), 0);
}

TEST_F(NcclGroupTest, ExchangesAllToAll) {
  const auto endings = on_ranks(4, [](Rank at) {
    const int rank = at.group.rank();
    for (int round = 0; round < 3; ++round) {
      std::vector<float> out(4), in(4, -1);
      std::iota(out.begin(), out.end(), static_cast<float>(100 * round + 10 * rank));
      std::vector<DeviceSend> sends;
      std::vector<DeviceReceive> receives;
      for (int other = 0; other < 4; ++other) {
        if (other == rank) continue;
        sends.push_back({other, out.data() + other, 1});
        receives.push_back({other, in.data() + other, 1});
      }
      at.group.exchange(sends, receives, DeviceType::kFloat32, "all to all");
      at.group.wait("round");
      for (int other = 0; other < 4; ++other) {
        if (other == rank) continue;
        EXPECT_EQ(in[static_cast<std::size_t>(other)],
                  static_cast<float>(100 * round + 10 * other + rank));
      }
    }
  });
  EXPECT_THAT(endings, Each(""));
}

TEST_F(NcclGroupTest, IsOrderedWithTheStreamThatComputes) {
  const auto endings = on_ranks(2, [](Rank at) {
    const auto compute = at.device.make_stream();
    std::array<std::int64_t, 1> value{0}, doubled{0};
    FakeDevice::launch(compute, [&] {
      std::this_thread::sleep_for(milliseconds(30));
      value[0] = 21;
    });
    at.group.begin_after(compute);
    at.group.all_reduce(value.data(), value.data(), 1, DeviceType::kInt64, ReduceOp::kSum, "sum");
    at.group.finish_before(compute);
    FakeDevice::launch(compute, [&] { doubled[0] = 2 * value[0]; });
    at.device.end_stream(compute);

    EXPECT_EQ(doubled[0], 84);
    at.group.barrier("end");
  });
  EXPECT_THAT(endings, Each(""));
}

TEST_F(NcclGroupTest, SplitsIntoGroupsOfTheirOwn) {
  const auto endings = on_ranks(4, [](Rank at) {
    const auto control = at.control.split(at.control.rank() % 2, 0, "halves");
    const auto half = at.group.split(*control);
    std::int64_t sum = at.control.rank();
    half->all_reduce(&sum, &sum, 1, DeviceType::kInt64, ReduceOp::kSum, "half");
    half->wait("half");
    EXPECT_EQ(sum, at.control.rank() % 2 == 0 ? 0 + 2 : 1 + 3);
    EXPECT_EQ(half->size(), 2);
    at.group.barrier("end");
  });
  EXPECT_THAT(endings, Each(""));
}

/// Enough operations for every fault below to meet one, then the end that a rank waits for.
void three_sums(Rank at) {
  std::array<float, 3> values{1, 2, 3};
  for (int i = 0; i < 3; ++i) {
    at.group.all_reduce(values.data(), values.data(), 3, DeviceType::kFloat32, ReduceOp::kSum,
                        "gradients");
  }
  at.group.wait("end of step");
}

TEST_F(NcclGroupTest, EndsOnAllRanksWhenOneCannotStart) {
  EXPECT_THAT(on_ranks(3, three_sums, {{1, {.init_fails = true}}}),
              Each(AllOf(HasSubstr("NCCL's start on rank 1 failed"),
                         HasSubstr("unhandled cuda error"), HasSubstr("2.28.9"))));
  EXPECT_THAT(on_ranks(3, three_sums, {{0, {.no_id = true}}}), Each(HasSubstr("no interface")));
}

TEST_F(NcclGroupTest, ReachesItsDeadlineWhenARankNeverComesToTheStart) {
  EXPECT_THAT(on_ranks(3, three_sums, {{2, {.init_never_ends = true}}}, milliseconds(100)),
              Each(AllOf(HasSubstr("NCCL's start on rank "), HasSubstr("waited 100ms"))));
}

TEST_F(NcclGroupTest, NamesTheOperationThatIsRefused) {
  EXPECT_THAT(on_ranks(3, three_sums, {{2, {.refused = 2}}}),
              Each(AllOf(HasSubstr("NCCL all_reduce 2 'gradients' on rank 2 failed"),
                         HasSubstr("invalid argument"))));
  EXPECT_GE(nccl_->aborted(), 1);
}

TEST_F(NcclGroupTest, NoticesAnErrorWhileItWaits) {
  EXPECT_THAT(on_ranks(2, three_sums, {{1, {.breaks = 3}}}),
              Each(AllOf(HasSubstr("on rank 1 failed"), HasSubstr("remote process exited"))));
}

TEST_F(NcclGroupTest, ReachesItsDeadlineWhenADeviceIsStuck) {
  EXPECT_THAT(on_ranks(3, three_sums, {{0, {.stuck = 2}}}, milliseconds(200)),
              Each(AllOf(HasSubstr("NCCL all_reduce 3 'gradients' (end of step) on rank "),
                         HasSubstr("waited 200ms"), HasSubstr("launch.deadline_seconds"))));
}

TEST_F(NcclGroupTest, HearsOfAFailureElsewhere) {
  const auto endings = on_ranks(3, [](Rank at) {
    if (at.group.rank() == 1) throw base::DataError("row 7 is damaged");
    three_sums(at);
  });
  EXPECT_THAT(endings, Each("row 7 is damaged"));
}

TEST_F(NcclGroupTest, EndsThoughTheLibrarysEndNeverReturns) {
  const auto begin = steady_clock::now();
  const NcclFaults stuck{.end_never_returns = true};
  EXPECT_THAT(on_ranks(2, three_sums, {{0, stuck}, {1, stuck}}), Each(""));
  auto broken = stuck;
  broken.refused = 1;
  EXPECT_THAT(on_ranks(2, three_sums, {{0, broken}, {1, stuck}}),
              Each(HasSubstr("invalid argument")));
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST_F(NcclGroupTest, RefusesTwoVersions) {
  EXPECT_THAT(on_ranks(2, three_sums, {{1, {.version = 22703}}}),
              Each(AllOf(HasSubstr("version of NCCL"), HasSubstr("2.28.9"), HasSubstr("2.27.3"))));
}

}  // namespace
}  // namespace lockstep::comm
