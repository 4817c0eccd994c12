#include "comm/micro_batch_plan.hpp"

#include <algorithm>
#include <string>

#include "base/error.hpp"
#include "base/narrow.hpp"

namespace lockstep::comm {

MicroBatchPlan::MicroBatchPlan(std::int64_t micro_batches, int ranks)
    : micro_batches_(micro_batches), ranks_(ranks) {
  LOCKSTEP_EXPECT(ranks >= 1 && micro_batches >= 1, "a plan has ranks and micro-batches");
  if (ranks > micro_batches) {
    throw base::ConfigError(
        std::to_string(ranks) + " ranks for " + std::to_string(micro_batches) +
        (micro_batches == 1 ? " micro-batch" : " micro-batches") +
        " (a rank without work would wait for ever); use at most " + std::to_string(micro_batches) +
        (micro_batches == 1 ? " rank" : " ranks") + " or a smaller train.micro_batch");
  }
}

LeafRange MicroBatchPlan::range_of(int rank) const {
  LOCKSTEP_EXPECT(0 <= rank && rank < ranks_, "rank outside the plan");
  const auto shorter = micro_batches_ / ranks_;
  const auto longer_ranks = micro_batches_ % ranks_;
  const auto begin = rank * shorter + std::min<std::int64_t>(rank, longer_ranks);
  return {begin, begin + shorter + (rank < longer_ranks ? 1 : 0)};
}

int MicroBatchPlan::owner_of(std::int64_t micro_batch) const {
  LOCKSTEP_EXPECT(0 <= micro_batch && micro_batch < micro_batches_, "micro-batch outside the plan");
  const auto shorter = micro_batches_ / ranks_;
  const auto longer_ranks = micro_batches_ % ranks_;
  const auto in_longer = longer_ranks * (shorter + 1);
  if (micro_batch < in_longer) return base::narrow<int>(micro_batch / (shorter + 1));
  return base::narrow<int>(longer_ranks + (micro_batch - in_longer) / shorter);
}

}  // namespace lockstep::comm
