#pragma once
// Exact metrics over a whole dataset: every sample once, at any number of ranks, with the same
// bits. Used by Trainer and by `evaluate`. One rank, one thread.

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "data/source.hpp"
#include "trainer/objective.hpp"
#include "trainer/parameter_space.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::trainer {

/// MetricSums as numbers that a BatchFold adds up, and back.
inline constexpr std::size_t kMetricColumns = 4;
std::array<double, kMetricColumns> columns_of(const MetricSums& sums);
MetricSums sums_of(std::span<const double, kMetricColumns> columns);

struct EvaluationOptions {
  std::int64_t batch = 256;        ///< samples of one forward pass; part of the bits
  std::int64_t most_samples = -1;  ///< only the first so many; negative = all
  /// Asked before each batch where it is set: true on any rank ends the evaluation.
  std::function<bool()> cut_short{};
};

/// Metrics of `source` under the model as it stands. The batches are cut the same way whatever
/// the rank count, each rank computes a contiguous range of them, and their sums are added by one
/// tree. Nothing when it was cut short, on all ranks alike. Collective.
std::optional<std::map<std::string, double>> evaluate(RankGroup group, ParameterSpace& space,
                                                      const Objective& objective,
                                                      data::SampleSource& source,
                                                      const EvaluationOptions& options);

}  // namespace lockstep::trainer
