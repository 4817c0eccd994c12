#pragma once
// What a model is to Lockstep: a torch::nn::Module with one forward function. Your own model is
// one file in trainer/models/ and one line in its table (models.cpp).
// A model object belongs to one rank and is used from one thread.

#include <ATen/core/Generator.h>

#include <torch/torch.h>

#include <optional>
#include <vector>

namespace lockstep::trainer {

struct DeviceForward;

enum class Phase { kTraining, kEvaluation };

/// What a forward pass may depend on besides its inputs and the parameters.
struct ForwardContext {
  Phase phase = Phase::kEvaluation;
  /// The random stream of this micro-batch: all randomness (dropout) comes from here, so that it
  /// is the same wherever the micro-batch is computed. torch's default generator carries the same
  /// seed, for modules that take none; on threads of one process that one is not reproducible.
  at::Generator generator{};
  bool dense_kernels = false;  ///< `dense` (dense_layer.hpp) uses Lockstep's kernels
  bool recompute = false;      ///< `recomputed` (recompute.hpp) keeps no activations
  /// Where the tensors are a device's: what fused layers (fused_layers.hpp) launch their kernels
  /// with. It must stay as it is until the backward pass has been enqueued.
  DeviceForward* device = nullptr;

  bool training() const { return phase == Phase::kTraining; }
};

enum class DenseActivation { kRelu, kGelu, kTanh };

/// A model that is nothing but dense layers with one activation between them.
struct DenseChain {
  std::vector<torch::nn::Linear> layers;  ///< with bias
  DenseActivation activation = DenseActivation::kRelu;
};

/// A forward pass up to its last step, where that is a matrix product.
struct BeforeOutputs {
  torch::Tensor features;  ///< [..., width], or the outputs themselves
  torch::Tensor weight;    ///< [outputs, width]; undefined: there is no such step
};

class Model : public torch::nn::Module {
 public:
  /// Classification: logits [batch, classes] of inputs [batch, ...] f32.
  /// Regression: predictions shaped like the targets. Tokens: logits [batch, context, vocabulary]
  /// of inputs [batch, context] i64. Local; one sample's output must not depend on rank or time.
  virtual torch::Tensor forward(const torch::Tensor& inputs, const ForwardContext& context) = 0;

  /// As `forward`, which is `dense` of the two (see dense_layer.hpp): for a model with so many
  /// outputs that they should not be there all at once.
  virtual BeforeOutputs before_outputs(const torch::Tensor& inputs, const ForwardContext& context) {
    return {.features = forward(inputs, context), .weight = {}};
  }

  /// What `forward` computes, when it is such a chain over inputs.flatten(1): it is then trained
  /// without autograd, see DenseGradients.
  virtual std::optional<DenseChain> dense_chain() const { return std::nullopt; }
};

/// Inverted dropout (Srivastava et al. 2014): inputs [...], result of the same shape. Its mask is
/// drawn from the micro-batch's own generator, and the result is f32 at least; with context.device
/// the next of its keys decides the mask, and the type of `inputs` stays.
torch::Tensor dropout(const torch::Tensor& inputs, double probability,
                      const ForwardContext& context);

}  // namespace lockstep::trainer
