#include <numeric>

#include "base/error.hpp"
#include "base/text.hpp"
#include "trainer/model.hpp"
#include "trainer/models/models.hpp"

namespace lockstep::trainer::models {
namespace {

DenseActivation activation_of(const std::string& name) {
  if (name == "relu") return DenseActivation::kRelu;
  if (name == "gelu") return DenseActivation::kGelu;
  if (name == "tanh") return DenseActivation::kTanh;
  throw base::ConfigError("activation " + base::quote(name) +
                          " is unknown (relu, gelu and tanh exist); set model.activation");
}

torch::Tensor activate(DenseActivation activation, const torch::Tensor& x) {
  switch (activation) {
    case DenseActivation::kRelu: return torch::relu(x);
    case DenseActivation::kGelu: return torch::gelu(x);
    case DenseActivation::kTanh: return torch::tanh(x);
  }
  throw base::InternalError("activation out of range; report this bug");
}

/// Dense layers with one activation between them.
class Mlp final : public Model {
 public:
  Mlp(const configs::ModelConfig& config, const ModelShapes& shapes)
      : activation_(activation_of(config.activation)) {
    std::int64_t width = std::accumulate(shapes.input_shape.begin(), shapes.input_shape.end(),
                                         std::int64_t{1}, std::multiplies<>());
    auto hidden = config.hidden;
    if (hidden.empty()) hidden = {512, 512};
    hidden.push_back(shapes.outputs);
    for (std::size_t i = 0; i < hidden.size(); ++i) {
      layers_.push_back(
          register_module("dense" + std::to_string(i), torch::nn::Linear(width, hidden[i])));
      width = hidden[i];
    }
  }

  torch::Tensor forward(const torch::Tensor& inputs, const ForwardContext&) override {
    auto x = inputs.flatten(1);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      x = layers_[i]->forward(x);
      if (i + 1 < layers_.size()) x = activate(activation_, x);
    }
    return x;
  }

  std::optional<DenseChain> dense_chain() const override {
    return DenseChain{.layers = layers_, .activation = activation_};
  }

 private:
  DenseActivation activation_;
  std::vector<torch::nn::Linear> layers_;
};

}  // namespace

std::shared_ptr<Model> make_mlp(const configs::ModelConfig& config, const ModelShapes& shapes) {
  return std::make_shared<Mlp>(config, shapes);
}

}  // namespace lockstep::trainer::models
