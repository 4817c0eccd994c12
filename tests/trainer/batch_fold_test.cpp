#include "trainer/batch_fold.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <mutex>

#include "comm/thread_communicator.hpp"

namespace lockstep::trainer {
namespace {

/// Numbers whose sum depends on the order of additions.
double number_of(std::int64_t batch) {
  return (batch % 3 == 0 ? 1e16 : 1.0) / static_cast<double>(batch % 7 + 1);
}

RC_GTEST_PROP(BatchFold, IsTheTreesSumOfAllBatchesOnAnyRanks, ()) {
  const auto batches = *rc::gen::inRange<std::int64_t>(0, 40);
  const auto ranks = *rc::gen::inRange(1, 5);
  const data::EvaluationPlan plan(batches * 2, 2);
  std::vector<double> leaves;
  for (std::int64_t batch = 0; batch < batches; ++batch) leaves.push_back(number_of(batch));
  const auto expected = comm::tree_sum(std::span<const double>(leaves));

  std::mutex mutex;
  std::vector<double> sums;
  comm::run_on_threads(ranks, [&](comm::Communicator& world) {
    BatchFold fold(2, plan, world, add_rows);
    const auto mine = plan.batches_of(world.rank(), world.size());
    for (auto batch = mine.begin; batch < mine.end; ++batch) fold.add({1, number_of(batch)});
    const auto row = fold.finish("sums");
    const std::lock_guard lock(mutex);
    EXPECT_EQ(row[0], static_cast<double>(batches));
    sums.push_back(row[1]);
  });

  for (const auto sum : sums) {
    RC_ASSERT(std::bit_cast<std::uint64_t>(sum) == std::bit_cast<std::uint64_t>(expected));
  }
}

TEST(BatchFold, CombinesAsItIsToldEarlierBatchesOnTheLeft) {
  const data::EvaluationPlan plan(5, 1);
  comm::run_on_threads(2, [&](comm::Communicator& world) {
    // Decimal digits strung together: any other order would show.
    BatchFold fold(2, plan, world, [](std::span<double> left, std::span<const double> right) {
      left[0] = left[0] * right[1] + right[0];
      left[1] *= right[1];
    });
    const auto mine = plan.batches_of(world.rank(), world.size());
    for (auto batch = mine.begin; batch < mine.end; ++batch) {
      fold.add({static_cast<double>(batch + 1), 10});
    }
    EXPECT_EQ(fold.finish("digits")[0], 12345);
  });
}

}  // namespace
}  // namespace lockstep::trainer
