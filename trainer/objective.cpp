#include "trainer/objective.hpp"

#include <cmath>

namespace lockstep::trainer {
namespace {

/// Classes on the last axis: [samples, classes] and [samples].
std::pair<torch::Tensor, torch::Tensor> flat_logits(const torch::Tensor& outputs,
                                                    const torch::Tensor& targets) {
  return {outputs.reshape({-1, outputs.size(-1)}), targets.reshape({-1})};
}

}  // namespace

Objective::Objective(ObjectiveKind kind, double label_smoothing)
    : kind_(kind), label_smoothing_(label_smoothing) {}

torch::Tensor Objective::loss(const torch::Tensor& outputs, const torch::Tensor& targets) const {
  if (kind_ == ObjectiveKind::kRegression) return at::mse_loss(outputs.view_as(targets), targets);
  const auto [logits, labels] = flat_logits(outputs, targets);
  return at::cross_entropy_loss(logits, labels, /*weight=*/{}, at::Reduction::Mean,
                                /*ignore_index=*/-100, label_smoothing_);
}

MetricSums Objective::measure(const torch::Tensor& outputs, const torch::Tensor& targets) const {
  MetricSums sums;
  if (kind_ == ObjectiveKind::kRegression) {
    const auto error = (outputs.view_as(targets) - targets).to(at::kDouble);
    sums.count = static_cast<double>(targets.numel());
    sums.loss = error.square().sum().item<double>();
    sums.absolute_error = error.abs().sum().item<double>();
    return sums;
  }
  const auto [logits, labels] = flat_logits(outputs, targets);
  sums.count = static_cast<double>(labels.numel());
  sums.loss = at::cross_entropy_loss(logits, labels, {}, at::Reduction::None)
                  .sum(at::kDouble)
                  .item<double>();
  sums.correct = logits.argmax(1).eq(labels).sum().item<double>();
  return sums;
}

std::map<std::string, double> Objective::metrics(const MetricSums& sums) const {
  const double count = sums.count > 0 ? sums.count : 1;
  std::map<std::string, double> named{{"loss", sums.loss / count}};
  switch (kind_) {
    case ObjectiveKind::kRegression: named["mae"] = sums.absolute_error / count; break;
    case ObjectiveKind::kTokens: named["perplexity"] = std::exp(named["loss"]); [[fallthrough]];
    case ObjectiveKind::kClassification: named["accuracy"] = sums.correct / count; break;
  }
  return named;
}

BestMetric best_metric(ObjectiveKind kind) {
  if (kind == ObjectiveKind::kClassification) return {"accuracy", true};
  return {"loss", false};
}

}  // namespace lockstep::trainer
