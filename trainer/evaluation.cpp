#include "trainer/evaluation.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "comm/reduction_tree.hpp"
#include "data/evaluation_plan.hpp"
#include "trainer/inference.hpp"

namespace lockstep::trainer {
namespace {

constexpr std::size_t kColumns = 4;

std::array<double, kColumns> columns_of(const MetricSums& sums) {
  return {sums.count, sums.loss, sums.correct, sums.absolute_error};
}

}  // namespace

std::map<std::string, double> evaluate(RankGroup group, ParameterSpace& space,
                                       const Objective& objective, data::SampleSource& source,
                                       const EvaluationOptions& options) {
  auto samples = source.info().samples;
  if (options.most_samples >= 0) samples = std::min(samples, options.most_samples);
  const data::EvaluationPlan plan(samples, options.batch);
  const auto range = plan.batches_of(group.world.rank(), group.world.size());

  std::vector<double> mine;
  Inference inference(space, source);
  for (auto index = range.begin; index < range.end; ++index) {
    const auto [outputs, targets] = inference.run(plan.samples_of(index));
    const auto columns = columns_of(objective.measure(outputs, targets));
    mine.insert(mine.end(), columns.begin(), columns.end());
  }

  // In rank order the ranges follow each other, so the texts put together are all batches in order.
  const std::string_view bytes(reinterpret_cast<const char*>(mine.data()),
                               mine.size() * sizeof(double));
  std::array<std::vector<double>, kColumns> all;
  for (const auto& text : group.world.all_gather_texts(bytes, "evaluation sums")) {
    std::vector<double> values(text.size() / sizeof(double));
    std::memcpy(values.data(), text.data(), text.size());
    for (std::size_t i = 0; i < values.size(); ++i) all[i % kColumns].push_back(values[i]);
  }
  return objective.metrics({.count = comm::tree_sum(std::span<const double>(all[0])),
                            .loss = comm::tree_sum(std::span<const double>(all[1])),
                            .correct = comm::tree_sum(std::span<const double>(all[2])),
                            .absolute_error = comm::tree_sum(std::span<const double>(all[3]))});
}

}  // namespace lockstep::trainer
