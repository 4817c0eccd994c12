#pragma once
// What a run minimises and reports: the loss of a micro-batch, and sums from which exact metrics
// over any set of samples follow. Used by TrainStep and Evaluation. Stateless, any thread.

#include <array>
#include <map>
#include <string>

#include "trainer/model.hpp"

namespace lockstep::trainer {

enum class ObjectiveKind { kClassification, kRegression, kTokens };

/// Sums over samples (for tokens: over predicted tokens), exact enough to be added in any grouping
/// that is fixed.
struct MetricSums {
  double count = 0;
  double loss = 0;
  double correct = 0;
  double absolute_error = 0;
};

class Objective {
 public:
  Objective(ObjectiveKind kind, double label_smoothing);

  /// Mean loss over the micro-batch: a scalar tensor f32 with its graph.
  /// Cross-entropy with label smoothing (Szegedy et al. 2016, section 7), or mean squared error.
  torch::Tensor loss(const torch::Tensor& outputs, const torch::Tensor& targets) const;

  /// The sum over rows of outputs [rows, classes] f32 and labels [rows]. Not for regression.
  torch::Tensor summed_loss(const torch::Tensor& outputs, const torch::Tensor& labels) const;
  bool is_of_classes() const { return kind_ != ObjectiveKind::kRegression; }

  /// The same without a graph: `outputs` ([samples] rows of `width` floats, `row` apart) become the
  /// gradient by them of the sum of the samples' losses; returns the mean loss. Throws DataError
  /// for a class that the model has no output for. Not for tokens.
  double differentiate(float* outputs, std::int64_t row, std::int64_t width,
                       const torch::Tensor& targets) const;

  /// Sums for evaluation; the loss here is without label smoothing.
  MetricSums measure(const torch::Tensor& outputs, const torch::Tensor& targets) const;

  /// Named metrics of summed-up samples: `loss`, and `accuracy`, `perplexity` or `mae`.
  std::map<std::string, double> metrics(const MetricSums& sums) const;

 private:
  ObjectiveKind kind_;
  double label_smoothing_;
};

/// Which metric says which checkpoint is best, and which way.
struct BestMetric {
  std::string name;
  bool larger_is_better = false;
};
BestMetric best_metric(ObjectiveKind kind);

}  // namespace lockstep::trainer
