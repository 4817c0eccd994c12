#include "trainer/evaluation.hpp"

#include <algorithm>

#include "data/evaluation_plan.hpp"
#include "trainer/batch_fold.hpp"
#include "trainer/inference.hpp"

namespace lockstep::trainer {

std::array<double, kMetricColumns> columns_of(const MetricSums& sums) {
  return {sums.count, sums.loss, sums.correct, sums.absolute_error};
}

MetricSums sums_of(std::span<const double, kMetricColumns> columns) {
  return {
      .count = columns[0], .loss = columns[1], .correct = columns[2], .absolute_error = columns[3]};
}

std::optional<std::map<std::string, double>> evaluate(RankGroup group, ParameterSpace& space,
                                                      const Objective& objective,
                                                      data::SampleSource& source,
                                                      const EvaluationOptions& options) {
  auto samples = source.info().samples;
  if (options.most_samples >= 0) samples = std::min(samples, options.most_samples);
  const data::EvaluationPlan plan(samples, options.batch);
  const auto range = plan.batches_of(group.world.rank(), group.world.size());

  BatchFold fold(kMetricColumns, plan, group.world, add_rows);
  Inference inference(space, source);
  std::int64_t cut = 0;
  for (auto index = range.begin; index < range.end && cut == 0; ++index) {
    if (options.cut_short && options.cut_short()) cut = 1;
    const auto columns = columns_of(inference.measure(plan.samples_of(index), objective));
    fold.add({columns.begin(), columns.end()});
  }
  group.world.all_reduce(std::span(&cut, 1), comm::ReduceOp::kMax, "whether to end the evaluation");
  if (cut != 0) return std::nullopt;
  const auto row = fold.finish("evaluation sums");
  return objective.metrics(sums_of(std::span(row).first<kMetricColumns>()));
}

}  // namespace lockstep::trainer
