#include "trainer/objective.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"

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

torch::Tensor Objective::summed_loss(const torch::Tensor& outputs,
                                     const torch::Tensor& labels) const {
  return at::cross_entropy_loss(outputs, labels, /*weight=*/{}, at::Reduction::Sum,
                                /*ignore_index=*/-100, label_smoothing_);
}

double Objective::differentiate(float* outputs, std::int64_t row, std::int64_t width,
                                const torch::Tensor& targets) const {
  const auto wanted = targets.contiguous();
  const auto samples = wanted.size(0);
  double loss = 0;
  if (kind_ == ObjectiveKind::kRegression) {
    LOCKSTEP_EXPECT(wanted.numel() == samples * width, "targets of another shape than the outputs");
    const auto* values = wanted.const_data_ptr<float>();
    const auto slope = static_cast<float>(2.0 / static_cast<double>(width));
    for (std::int64_t r = 0; r < samples; ++r, outputs += row, values += width) {
      for (std::int64_t c = 0; c < width; ++c) {
        const float error = outputs[c] - values[c];
        loss += static_cast<double>(error) * static_cast<double>(error);
        outputs[c] = slope * error;
      }
    }
    return loss / static_cast<double>(samples * width);
  }
  const auto* classes = wanted.const_data_ptr<std::int64_t>();
  const double share = label_smoothing_ / static_cast<double>(width);  // of each class
  for (std::int64_t r = 0; r < samples; ++r, outputs += row) {
    const auto target = classes[r];
    if (target < 0 || target >= width) {
      throw base::DataError("class " + std::to_string(target) + " of a training sample has no " +
                            "output (the model has " + std::to_string(width) +
                            "); mend the data or set model.classes");
    }
    const float largest = *std::max_element(outputs, outputs + width);
    double exponentials = 0;
    double logits = 0;
    const double target_logit = outputs[target];
    for (std::int64_t c = 0; c < width; ++c) {
      logits += outputs[c];
      outputs[c] = std::exp(outputs[c] - largest);
      exponentials += outputs[c];
    }
    const double log_sum = std::log(exponentials) + largest;
    loss += log_sum - (1 - label_smoothing_) * target_logit - share * logits;
    const auto inverse = static_cast<float>(1 / exponentials);
    for (std::int64_t c = 0; c < width; ++c) {
      outputs[c] = outputs[c] * inverse - static_cast<float>(share);
    }
    outputs[target] -= static_cast<float>(1 - label_smoothing_);
  }
  return loss / static_cast<double>(samples);
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
