#include "trainer/output_loss.hpp"

#include <algorithm>
#include <functional>

#include "trainer/dense_layer.hpp"

namespace lockstep::trainer {
namespace {

using torch::autograd::variable_list;

/// Rows of features and their labels, in pieces.
struct Rows {
  torch::Tensor features;  ///< [rows, width]
  torch::Tensor labels;    ///< [rows]
  std::int64_t piece = 0;  ///< rows of each but the last

  void for_each(const std::function<void(std::int64_t, std::int64_t)>& visit) const {
    for (std::int64_t begin = 0; begin < features.size(0); begin += piece) {
      visit(begin, std::min(piece, features.size(0) - begin));
    }
  }
};

/// Nothing where the outputs are few enough to be there as a whole.
std::optional<Rows> pieces_of(const BeforeOutputs& before, const torch::Tensor& targets,
                              const Objective& objective, std::int64_t most_outputs) {
  if (!before.weight.defined() || !objective.is_of_classes()) return std::nullopt;
  const auto rows = before.features.numel() / before.features.size(-1);
  const auto width = before.weight.size(0);
  if (rows * width <= most_outputs) return std::nullopt;
  constexpr std::int64_t kUnit = 64;  // what matrix products of any processor like
  const auto piece = std::max(kUnit, most_outputs / width / kUnit * kUnit);
  return Rows{before.features.reshape({rows, before.features.size(-1)}), targets.reshape({-1}),
              piece};
}

torch::Tensor whole_outputs(const BeforeOutputs& before, const ForwardContext& context) {
  if (!before.weight.defined()) return before.features;
  return dense(before.features, before.weight, {}, context);
}

struct LossCall {
  const Objective& objective;
  const ForwardContext& context;
  std::int64_t piece;
  torch::Tensor factor;
};

/// Each piece's outputs live from their product to their gradient, and no longer.
class LossInPieces final : public torch::autograd::Function<LossInPieces> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* saved,
                               const torch::Tensor& features, const torch::Tensor& weight,
                               const torch::Tensor& labels, const LossCall& call) {
    const auto count = static_cast<double>(features.size(0));
    auto by_features = at::empty_like(features);
    torch::Tensor by_weight, sum;
    const Rows rows{features, labels, call.piece};
    rows.for_each([&](std::int64_t begin, std::int64_t length) {
      const at::AutoGradMode with_graph(true);
      const auto part = features.narrow(0, begin, length).detach().requires_grad_();
      const auto matrix = weight.detach().requires_grad_();
      const auto outputs = dense(part, matrix, {}, call.context).to(at::kFloat);
      const auto loss = call.objective.summed_loss(outputs, labels.narrow(0, begin, length));
      const auto scaled = (call.factor.defined() ? loss * call.factor : loss) / count;
      const auto gradients = torch::autograd::grad({scaled}, {part, matrix});
      const at::AutoGradMode without(false);
      by_features.narrow(0, begin, length).copy_(gradients[0]);
      by_weight = by_weight.defined() ? by_weight.add_(gradients[1]) : gradients[1].to(at::kFloat);
      sum = sum.defined() ? sum.add_(loss.detach()) : loss.detach().clone();
    });
    saved->save_for_backward({by_features, by_weight});
    saved->saved_data["factor"] = call.factor.defined() ? call.factor : at::ones({}, sum.options());
    return sum / count;
  }

  static variable_list backward(torch::autograd::AutogradContext* saved,
                                const variable_list& gradients) {
    const auto parts = saved->get_saved_variables();
    const auto share = gradients[0] / saved->saved_data["factor"].toTensor();
    return {parts[0] * share.to(parts[0].scalar_type()), parts[1] * share, {}, {}};
  }
};

}  // namespace

torch::Tensor output_loss(const BeforeOutputs& before, const torch::Tensor& targets,
                          const Objective& objective, const ForwardContext& context,
                          const OutputLossOptions& options) {
  if (const auto rows = pieces_of(before, targets, objective, options.most_outputs)) {
    return LossInPieces::apply(rows->features, before.weight, rows->labels,
                               LossCall{objective, context, rows->piece, options.factor});
  }
  // Of short floats the loss would have two digits, and its gradient as well.
  return objective.loss(whole_outputs(before, context).to(at::kFloat), targets);
}

MetricSums output_sums(const BeforeOutputs& before, const torch::Tensor& targets,
                       const Objective& objective, const ForwardContext& context,
                       const OutputLossOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto rows = pieces_of(before, targets, objective, options.most_outputs);
  if (!rows) return objective.measure(whole_outputs(before, context).to(at::kFloat), targets);
  MetricSums sums;
  rows->for_each([&](std::int64_t begin, std::int64_t length) {
    const auto outputs = dense(rows->features.narrow(0, begin, length), before.weight, {}, context);
    const auto one =
        objective.measure(outputs.to(at::kFloat), rows->labels.narrow(0, begin, length));
    sums.count += one.count;
    sums.loss += one.loss;
    sums.correct += one.correct;
  });
  return sums;
}

}  // namespace lockstep::trainer
