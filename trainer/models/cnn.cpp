#include "trainer/dense_layer.hpp"
#include "trainer/model.hpp"
#include "trainer/models/images.hpp"
#include "trainer/models/models.hpp"

namespace lockstep::trainer::models {
namespace {

/// Blocks of 3x3 convolution, ReLU and 2x2 max pooling, then one hidden dense layer.
class Cnn final : public Model {
 public:
  Cnn(const configs::ModelConfig& config, const ModelShapes& shapes) {
    auto channels = config.channels;
    if (channels.empty()) channels = {32, 64};
    const std::int64_t hidden = config.hidden.empty() ? 128 : config.hidden.front();
    image_ = image_shape("cnn", shapes, std::int64_t{1} << channels.size());
    std::int64_t width = image_.channels;
    for (std::size_t i = 0; i < channels.size(); ++i) {
      convolutions_.push_back(register_module(
          "conv" + std::to_string(i),
          torch::nn::Conv2d(torch::nn::Conv2dOptions(width, channels[i], 3).padding(1))));
      width = channels[i];
    }
    const auto blocks = channels.size();
    const auto features = width * (image_.height >> blocks) * (image_.width >> blocks);
    dense_ = register_module("dense", torch::nn::Linear(features, hidden));
    head_ = register_module("head", torch::nn::Linear(hidden, shapes.outputs));
  }

  torch::Tensor forward(const torch::Tensor& inputs, const ForwardContext& context) override {
    auto x = as_images(inputs, image_);
    for (auto& convolution : convolutions_) {
      // Pooling first gives the same numbers as ReLU first (both are monotonic), on a quarter of
      // the elements.
      x = torch::relu(torch::max_pool2d(convolution->forward(x), 2));
    }
    x = torch::relu(dense(x.flatten(1), dense_, context));
    return dense(x, head_, context);
  }

 private:
  ImageShape image_;
  std::vector<torch::nn::Conv2d> convolutions_;
  torch::nn::Linear dense_{nullptr};
  torch::nn::Linear head_{nullptr};
};

}  // namespace

std::shared_ptr<Model> make_cnn(const configs::ModelConfig& config, const ModelShapes& shapes) {
  return std::make_shared<Cnn>(config, shapes);
}

}  // namespace lockstep::trainer::models
