#include "trainer/evaluation.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "comm/reduction_tree.hpp"
#include "data/evaluation_plan.hpp"
#include "trainer/batch_tensors.hpp"

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
  const torch::NoGradGuard no_grad;
  space.model().eval();
  space.reset_buffers();
  auto samples = source.info().samples;
  if (options.most_samples >= 0) samples = std::min(samples, options.most_samples);
  const data::EvaluationPlan plan(samples, options.batch);
  const auto range = plan.batches_of(group.world.rank(), group.world.size());

  std::vector<double> mine;
  data::Batch batch;
  std::vector<std::int64_t> rows;
  for (auto index = range.begin; index < range.end; ++index) {
    const auto part = plan.samples_of(index);
    rows.resize(static_cast<std::size_t>(part.size()));
    std::iota(rows.begin(), rows.end(), part.begin);
    source.read(rows, batch);
    const auto tensors = tensors_of(batch, source.info());
    const auto outputs = space.model().forward(tensors.inputs, {Phase::kEvaluation, {}});
    const auto columns = columns_of(objective.measure(outputs, tensors.targets));
    mine.insert(mine.end(), columns.begin(), columns.end());
  }
  space.model().train();

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
