#include "data/evaluation_plan.hpp"

#include <algorithm>
#include <string>

#include "base/error.hpp"

namespace lockstep::data {

EvaluationPlan::EvaluationPlan(std::int64_t samples, std::int64_t batch)
    : samples_(samples), batch_(batch) {
  if (samples < 0 || batch < 1) {
    throw base::ConfigError("evaluation batch " + std::to_string(batch) + " over " +
                            std::to_string(samples) +
                            " samples is impossible; set evaluate.batch to 1 or more");
  }
}

std::int64_t EvaluationPlan::batches() const {
  return samples_ / batch_ + (samples_ % batch_ != 0 ? 1 : 0);
}

Range EvaluationPlan::samples_of(std::int64_t batch) const {
  LOCKSTEP_EXPECT(batch >= 0 && batch < batches(),
                  "there is no evaluation batch " + std::to_string(batch));
  const auto begin = batch * batch_;
  return {begin, begin + std::min(batch_, samples_ - begin)};
}

Range EvaluationPlan::batches_of(int rank, int ranks) const {
  LOCKSTEP_EXPECT(ranks >= 1 && rank >= 0 && rank < ranks,
                  "there is no rank " + std::to_string(rank) + " of " + std::to_string(ranks));
  const auto share = batches() / ranks;
  const auto longer = batches() % ranks;
  const auto begin = rank * share + std::min<std::int64_t>(rank, longer);
  return {begin, begin + share + (rank < longer ? 1 : 0)};
}

}  // namespace lockstep::data
