#include <cmath>

#include "base/error.hpp"
#include "trainer/dense_layer.hpp"
#include "trainer/fused_layers.hpp"
#include "trainer/model.hpp"
#include "trainer/models/models.hpp"
#include "trainer/recompute.hpp"

namespace lockstep::trainer::models {
namespace {

constexpr double kInitStd = 0.02;  // Radford et al. 2019, section 2.3

/// Pre-norm transformer block: causal self-attention, then a GELU MLP four times as wide.
class Block final : public torch::nn::Module {
 public:
  explicit Block(const configs::ModelConfig& config)
      : heads_(config.heads), dropout_(config.dropout) {
    const auto width = config.width;
    norm1_ = register_module("norm1", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})));
    qkv_ = register_module("qkv", torch::nn::Linear(width, 3 * width));
    attention_out_ = register_module("attention_out", torch::nn::Linear(width, width));
    norm2_ = register_module("norm2", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})));
    up_ = register_module("up", torch::nn::Linear(width, 4 * width));
    down_ = register_module("down", torch::nn::Linear(4 * width, width));
  }

  /// `inputs` normed by norm1, gives the sum behind the block normed by `next`.
  NormedSum forward(const NormedSum& inputs, const torch::nn::LayerNorm& next,
                    const ForwardContext& context) {
    const auto [sum, normed] = add_layer_norm(
        dropout(attention(inputs.normed, context), dropout_, context), inputs.sum, norm2_, context);
    const auto hidden = gelu_of_dense(normed, up_, context);
    return add_layer_norm(dropout(dense(hidden, down_, context), dropout_, context), sum, next,
                          context);
  }

  const torch::nn::LayerNorm& norm1() const { return norm1_; }

 private:
  torch::Tensor attention(const torch::Tensor& x, const ForwardContext& context) {
    const auto batch = x.size(0), length = x.size(1), width = x.size(2);
    const auto parts = dense(x, qkv_, context)
                           .view({batch, length, 3, heads_, width / heads_})
                           .permute({2, 0, 3, 1, 4});
    const auto mixed = at::scaled_dot_product_attention(parts[0], parts[1], parts[2], {},
                                                        /*dropout_p=*/0.0, /*is_causal=*/true);
    return dense(mixed.transpose(1, 2).reshape({batch, length, width}), attention_out_, context);
  }

  std::int64_t heads_;
  double dropout_;
  torch::nn::LayerNorm norm1_{nullptr};
  torch::nn::Linear qkv_{nullptr};
  torch::nn::Linear attention_out_{nullptr};
  torch::nn::LayerNorm norm2_{nullptr};
  torch::nn::Linear up_{nullptr};
  torch::nn::Linear down_{nullptr};
};

/// Decoder-only transformer in the shape of GPT-2 (Radford et al. 2019).
class Gpt final : public Model {
 public:
  Gpt(const configs::ModelConfig& config, const ModelShapes& shapes)
      : tied_(config.tie_embeddings), dropout_(config.dropout) {
    const auto width = config.width;
    tokens_ = register_module("tokens", torch::nn::Embedding(shapes.outputs, width));
    positions_ = register_module("positions", torch::nn::Embedding(config.context, width));
    for (std::int64_t i = 0; i < config.layers; ++i) {
      blocks_.push_back(
          register_module("block" + std::to_string(i), std::make_shared<Block>(config)));
    }
    norm_ = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})));
    if (!tied_) {
      head_ = register_module(
          "head", torch::nn::Linear(torch::nn::LinearOptions(width, shapes.outputs).bias(false)));
    }
    initialise(config.layers);
  }

  torch::Tensor forward(const torch::Tensor& inputs, const ForwardContext& context) override {
    const auto [features, weight] = before_outputs(inputs, context);
    return dense(features, weight, {}, context);
  }

  BeforeOutputs before_outputs(const torch::Tensor& inputs,
                               const ForwardContext& context) override {
    const auto positions = torch::arange(inputs.size(1), inputs.options());
    const auto embedded =
        dropout(tokens_->forward(inputs) + positions_->forward(positions), dropout_, context);
    auto x = layer_norm(embedded, norm_before(0), context);
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      const Layer layer = [block = blocks_[i], norm = norm_before(i + 1)](const auto& in,
                                                                          const auto& how) {
        const auto out = block->forward({in[0], in[1]}, norm, how);
        return torch::autograd::variable_list{out.sum, out.normed};
      };
      const auto out = recomputed(layer, {x.sum, x.normed}, context);
      x = {out[0], out[1]};
    }
    return {.features = x.normed, .weight = tied_ ? tokens_->weight : head_->weight};
  }

 private:
  /// The norm of what goes into block `i`, or of what comes out of the last one.
  const torch::nn::LayerNorm& norm_before(std::size_t i) const {
    return i < blocks_.size() ? blocks_[i]->norm1() : norm_;
  }

  void initialise(std::int64_t layers) {
    const torch::NoGradGuard no_grad;
    const double residual_std = kInitStd / std::sqrt(2.0 * static_cast<double>(layers));
    for (auto& named : named_parameters()) {
      const auto& name = named.key();
      auto& value = named.value();
      if (name.ends_with("bias")) {
        value.zero_();
      } else if (value.dim() >= 2) {
        const bool residual =
            name.ends_with("attention_out.weight") || name.ends_with("down.weight");
        value.normal_(0, residual ? residual_std : kInitStd);
      }
    }
  }

  bool tied_;
  double dropout_;
  torch::nn::Embedding tokens_{nullptr};
  torch::nn::Embedding positions_{nullptr};
  std::vector<std::shared_ptr<Block>> blocks_;
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear head_{nullptr};
};

}  // namespace

std::shared_ptr<Model> make_gpt(const configs::ModelConfig& config, const ModelShapes& shapes) {
  return std::make_shared<Gpt>(config, shapes);
}

}  // namespace lockstep::trainer::models
