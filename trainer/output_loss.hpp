#pragma once
// The loss and the metrics of a model whose outputs are one wide matrix product of what comes
// before, such as a language model's logits: computed in pieces of rows, so that the outputs are
// never there as a whole (as Liger Kernel's fused linear cross-entropy, Hsu et al. 2024). Where all
// of them are few it is what `forward` and Objective give, bit for bit. Used by AutogradGradients
// and Inference. Stateless, any thread.

#include "trainer/model.hpp"
#include "trainer/objective.hpp"

namespace lockstep::trainer {

/// How many outputs are worth having at once: 64 MiB of f32 on the CPU, 512 MiB on a GPU, where
/// larger products keep it busy.
inline std::int64_t outputs_at_once(at::Device device) {
  return std::int64_t{1} << (device.is_cpu() ? 24 : 27);
}

struct OutputLossOptions {
  /// Most outputs of a piece, in numbers. The bits depend on it.
  std::int64_t most_outputs = outputs_at_once(at::kCPU);
  /// What the loss will be multiplied by before its backward pass, on its device; undefined = 1.
  /// Gradients are computed with it in the forward pass.
  torch::Tensor factor{};
};

/// Mean loss of a micro-batch: a scalar f32 with its graph. In pieces for cross-entropy alone.
torch::Tensor output_loss(const BeforeOutputs& before, const torch::Tensor& targets,
                          const Objective& objective, const ForwardContext& context,
                          const OutputLossOptions& options);

/// Objective::measure of the outputs, without a graph.
MetricSums output_sums(const BeforeOutputs& before, const torch::Tensor& targets,
                       const Objective& objective, const ForwardContext& context,
                       const OutputLossOptions& options);

}  // namespace lockstep::trainer
