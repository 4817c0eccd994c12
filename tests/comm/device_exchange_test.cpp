// Gradients on (fake) devices: the bits do not depend on the number of ranks, buckets go out while
// later ones are still computed, and what NCCL sums itself is close.

#include "comm/device_exchange.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <mutex>

#include "comm/micro_batch_plan.hpp"
#include "comm/thread_communicator.hpp"
#include "tests/comm/fake_gpu.hpp"

namespace lockstep::comm {
namespace {

using tests::FakeDevice;
using tests::FakeNccl;

TEST(BucketPlan, GoesFromTheEndToASmallLastOne) {
  const BucketPlan plan({.floats = 1000, .ranks = 2, .bucket_floats = 384, .last_floats = 100});

  EXPECT_EQ(plan.padded_floats(), 1024);
  EXPECT_EQ(plan.buckets(),
            (std::vector<LeafRange>{{640, 1024}, {256, 640}, {128, 256}, {0, 128}}));
  EXPECT_EQ(plan.slice(0, 1), (LeafRange{832, 1024}));
  EXPECT_EQ(plan.owner_of(0), 0);
  EXPECT_EQ(plan.owner_of(64), 1);
  EXPECT_EQ(plan.owner_of(1023), 1);
  EXPECT_EQ(plan.ready(0, 1000), 0u);
  EXPECT_EQ(plan.ready(0, 640), 1u);
  EXPECT_EQ(plan.ready(1, 130), 1u);
  EXPECT_EQ(plan.ready(1, 0), 3u);
  EXPECT_TRUE(BucketPlan({.floats = 0}).buckets().empty());
}

RC_GTEST_PROP(BucketPlan, TilesTheGradientWithEqualSlices, ()) {
  const BucketPlanOptions options{.floats = *rc::gen::inRange<std::int64_t>(0, 100000),
                                  .ranks = *rc::gen::inRange(1, 9),
                                  .slice_unit = 64 * *rc::gen::inRange<std::int64_t>(1, 20),
                                  .bucket_floats = *rc::gen::inRange<std::int64_t>(1, 50000),
                                  .last_floats = *rc::gen::inRange<std::int64_t>(1, 50000)};
  const BucketPlan plan(options);
  auto end = plan.padded_floats();
  RC_ASSERT(end >= options.floats);
  RC_ASSERT(end < options.floats + options.slice_unit * options.ranks);
  for (std::size_t bucket = 0; bucket < plan.buckets().size(); ++bucket) {
    const auto range = plan.buckets()[bucket];
    RC_ASSERT(range.end == end);
    RC_ASSERT(range.size() > 0);
    end = range.begin;
    auto at = range.begin;
    for (int rank = 0; rank < options.ranks; ++rank) {
      RC_ASSERT(plan.slice(bucket, rank).begin == at);
      RC_ASSERT(at % options.slice_unit == 0);
      RC_ASSERT(plan.owner_of(at) == rank);
      at = plan.slice(bucket, rank).end;
    }
    RC_ASSERT(at == range.end);
  }
  RC_ASSERT(end == 0);
}

constexpr std::int64_t kFloats = 1500;
constexpr std::int64_t kShared = 70;
constexpr std::int64_t kMicroBatches = 12;

float gradient(std::int64_t micro_batch, std::int64_t i) {
  return std::sin(static_cast<float>(micro_batch * 7919 + i)) *
         std::ldexp(1.0F, static_cast<int>(micro_batch % 5) * 4);
}

/// Sum over the micro-batches of `subtree` by the tree.
float folded(LeafRange subtree, std::int64_t i) {
  std::vector<float> leaves;
  for (auto leaf = subtree.begin; leaf < subtree.end; ++leaf) leaves.push_back(gradient(leaf, i));
  return tree_sum(std::span<const float>(leaves));
}

/// What all ranks have in the end: parameters that are the gradients' sums, over three steps.
std::vector<float> summed(int ranks, bool invariant) {
  FakeDevice device;
  tests::ReferenceFold fold;
  const auto nccl = std::make_shared<FakeNccl>();
  std::vector<std::vector<float>> results(static_cast<std::size_t>(ranks));
  run_on_threads(ranks, [&](Communicator& control) {
    FakeNccl::rank_of_thread = control.rank();
    NcclGroup group(nccl, device, control);
    DeviceExchangeOptions options{
        .buckets = {.floats = kFloats, .ranks = ranks, .bucket_floats = 256, .last_floats = 64},
        .shared_floats = kShared,
        .invariant = invariant,
        .leaves = kMicroBatches,
        .leaves_of_rank = {}};
    for (int rank = 0; rank < ranks; ++rank) {
      options.leaves_of_rank.push_back(
          {kMicroBatches * rank / ranks, kMicroBatches * (rank + 1) / ranks});
    }
    DeviceExchange exchange(group, device, fold, options);
    auto* parameters = static_cast<float*>(
        device.allocate(static_cast<std::size_t>(exchange.floats()) * sizeof(float)));
    const auto shared = exchange.shared_begin();
    const auto compute = device.make_stream();
    for (int step = 0; step < 3; ++step) {
      // Backward in five layers, from the last one on.
      for (std::int64_t begin = kFloats - 300; begin >= 0; begin -= 300) {
        FakeDevice::launch(compute, [&exchange, begin] {
          for (std::size_t tree = 0; tree < exchange.subtrees().size(); ++tree) {
            for (auto i = begin; i < begin + 300; ++i) {
              exchange.partial(tree)[i] = folded(exchange.subtrees()[tree], i);
            }
          }
        });
        exchange.ready(begin, compute);
      }
      FakeDevice::launch(compute, [&exchange, shared] {
        for (std::size_t tree = 0; tree < exchange.subtrees().size(); ++tree) {
          for (std::int64_t i = 0; i < kShared; ++i) {
            exchange.partial(tree)[shared + i] = folded(exchange.subtrees()[tree], kFloats + i);
          }
        }
      });
      exchange.ready_all(compute);
      const auto* sums = exchange.sums(compute);
      FakeDevice::launch(compute, [&exchange, sums, parameters, shared, rank = control.rank()] {
        for (std::size_t bucket = 0; bucket < exchange.plan().buckets().size(); ++bucket) {
          const auto slice = exchange.plan().slice(bucket, rank);
          for (auto i = slice.begin; i < slice.end; ++i) parameters[i] += sums[i];
        }
        for (auto i = shared; i < shared + kShared; ++i) parameters[i] += sums[i];
      });
      exchange.gather(parameters, compute);
    }
    device.end_stream(compute);
    group.barrier("end");
    auto& result = results[static_cast<std::size_t>(control.rank())];
    result.assign(parameters, parameters + kFloats);
    result.insert(result.end(), parameters + shared, parameters + shared + kShared);
    device.release(parameters);
  });
  for (const auto& result : results) EXPECT_EQ(result, results[0]);
  return results[0];
}

TEST(DeviceExchange, HasTheSameBitsOnAnyNumberOfRanks) {
  std::vector<float> right(kFloats + kShared);
  for (std::int64_t i = 0; i < kFloats + kShared; ++i) {
    const auto sum = folded({0, kMicroBatches}, i);
    right[static_cast<std::size_t>(i)] = 0.0F + sum;
    for (int step = 1; step < 3; ++step) right[static_cast<std::size_t>(i)] += sum;
  }
  for (const int ranks : {1, 2, 3, 4, 5, 7}) {
    EXPECT_EQ(summed(ranks, true), right) << ranks << " ranks";
  }
}

TEST(DeviceExchange, LeavesTheOrderToNcclWhereTheBitsMayDiffer) {
  const auto one = summed(1, true);
  for (const int ranks : {2, 3}) {
    const auto fast = summed(ranks, false);
    for (std::size_t i = 0; i < one.size(); ++i) {
      EXPECT_NEAR(fast[i], one[i], 0.1) << i;
    }
  }
}

}  // namespace
}  // namespace lockstep::comm
