#include "trainer/dense_layer.hpp"
#include "trainer/model.hpp"
#include "trainer/models/images.hpp"
#include "trainer/models/models.hpp"

namespace lockstep::trainer::models {
namespace {

torch::nn::Conv2d convolution(std::int64_t in, std::int64_t out, std::int64_t kernel,
                              std::int64_t stride) {
  return torch::nn::Conv2d(
      torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
}

class BasicBlock final : public torch::nn::Module {
 public:
  BasicBlock(std::int64_t in, std::int64_t out, std::int64_t stride) {
    conv1_ = register_module("conv1", convolution(in, out, 3, stride));
    norm1_ = register_module("norm1", torch::nn::BatchNorm2d(out));
    conv2_ = register_module("conv2", convolution(out, out, 3, 1));
    norm2_ = register_module("norm2", torch::nn::BatchNorm2d(out));
    if (stride != 1 || in != out) {
      shortcut_ = register_module("shortcut", convolution(in, out, 1, stride));
      shortcut_norm_ = register_module("shortcut_norm", torch::nn::BatchNorm2d(out));
    }
  }

  torch::Tensor forward(const torch::Tensor& inputs) {
    auto x = torch::relu(norm1_->forward(conv1_->forward(inputs)));
    x = norm2_->forward(conv2_->forward(x));
    const auto identity =
        shortcut_.is_empty() ? inputs : shortcut_norm_->forward(shortcut_->forward(inputs));
    return torch::relu(x + identity);
  }

 private:
  torch::nn::Conv2d conv1_{nullptr};
  torch::nn::BatchNorm2d norm1_{nullptr};
  torch::nn::Conv2d conv2_{nullptr};
  torch::nn::BatchNorm2d norm2_{nullptr};
  torch::nn::Conv2d shortcut_{nullptr};
  torch::nn::BatchNorm2d shortcut_norm_{nullptr};
};

/// ResNet-18 (He et al. 2016) with the 3x3 stem for small images that its section 4.2 uses on
/// CIFAR. `channels` may name the four widths.
class ResNet18 final : public Model {
 public:
  ResNet18(const configs::ModelConfig& config, const ModelShapes& shapes)
      : image_(image_shape("resnet18", shapes, 8)) {
    auto widths = config.channels;
    if (widths.empty()) widths = {64, 128, 256, 512};
    stem_ = register_module("stem", convolution(image_.channels, widths.front(), 3, 1));
    stem_norm_ = register_module("stem_norm", torch::nn::BatchNorm2d(widths.front()));
    std::int64_t in = widths.front();
    for (std::size_t stage = 0; stage < widths.size(); ++stage) {
      for (int block = 0; block < 2; ++block) {
        const std::int64_t stride = stage > 0 && block == 0 ? 2 : 1;
        const auto name = "stage" + std::to_string(stage) + "_block" + std::to_string(block);
        blocks_.push_back(
            register_module(name, std::make_shared<BasicBlock>(in, widths[stage], stride)));
        in = widths[stage];
      }
    }
    head_ = register_module("head", torch::nn::Linear(in, shapes.outputs));
  }

  torch::Tensor forward(const torch::Tensor& inputs, const ForwardContext& context) override {
    auto x = torch::relu(stem_norm_->forward(stem_->forward(as_images(inputs, image_))));
    for (auto& block : blocks_) {
      // Channels last pays while images are large; later the weights are, and would be reordered
      // in each pass.
      if (x.size(1) >= x.size(2) * x.size(3)) x = x.contiguous();
      x = block->forward(x);
    }
    return dense(x.mean({2, 3}), head_, context);
  }

 private:
  ImageShape image_;
  torch::nn::Conv2d stem_{nullptr};
  torch::nn::BatchNorm2d stem_norm_{nullptr};
  std::vector<std::shared_ptr<BasicBlock>> blocks_;
  torch::nn::Linear head_{nullptr};
};

}  // namespace

std::shared_ptr<Model> make_resnet18(const configs::ModelConfig& config,
                                     const ModelShapes& shapes) {
  return std::make_shared<ResNet18>(config, shapes);
}

}  // namespace lockstep::trainer::models
