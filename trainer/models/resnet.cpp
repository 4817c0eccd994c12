#include <algorithm>
#include <array>

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

/// Convolutions without bias, a BatchNorm after each and ReLU between them, and their input added
/// to what they give, by a 1x1 convolution where the shapes differ.
class ResidualBlock final : public torch::nn::Module {
 public:
  struct Layer {
    std::int64_t out, kernel, stride;
  };

  ResidualBlock(std::int64_t in, const std::vector<Layer>& layers) {
    std::int64_t width = in, stride = 1;
    for (const auto& layer : layers) {
      const auto number = std::to_string(convolutions_.size() + 1);
      convolutions_.push_back(register_module(
          "conv" + number, convolution(width, layer.out, layer.kernel, layer.stride)));
      norms_.push_back(register_module("norm" + number, torch::nn::BatchNorm2d(layer.out)));
      width = layer.out;
      stride *= layer.stride;
    }
    if (stride != 1 || in != width) {
      shortcut_ = register_module("shortcut", convolution(in, width, 1, stride));
      shortcut_norm_ = register_module("shortcut_norm", torch::nn::BatchNorm2d(width));
    }
  }

  torch::Tensor forward(const torch::Tensor& inputs) {
    auto x = inputs;
    for (std::size_t i = 0; i < convolutions_.size(); ++i) {
      if (i > 0) x = torch::relu(x);
      x = norms_[i]->forward(convolutions_[i]->forward(x));
    }
    const auto identity =
        shortcut_.is_empty() ? inputs : shortcut_norm_->forward(shortcut_->forward(inputs));
    return torch::relu(x + identity);
  }

 private:
  std::vector<torch::nn::Conv2d> convolutions_;
  std::vector<torch::nn::BatchNorm2d> norms_;
  torch::nn::Conv2d shortcut_{nullptr};
  torch::nn::BatchNorm2d shortcut_norm_{nullptr};
};

enum class Stem {
  kSmallImages,  ///< one 3x3 convolution
  kLargeImages,  ///< a 7x7 convolution and a max pool: a quarter of each side
};
enum class BlockKind {
  kBasic,       ///< 3x3, 3x3
  kBottleneck,  ///< 1x1, 3x3, 1x1 to four times the width
};

struct Architecture {
  const char* name;
  Stem stem;
  BlockKind block;
  std::array<int, 4> blocks;  ///< of each stage; further ones are as the last
  std::int64_t smallest_image;
};

/// With the stem that section 4.2 of He et al. 2016 has for CIFAR.
constexpr Architecture kResNet18{.name = "resnet18",
                                 .stem = Stem::kSmallImages,
                                 .block = BlockKind::kBasic,
                                 .blocks = {2, 2, 2, 2},
                                 .smallest_image = 8};
constexpr Architecture kResNet50{.name = "resnet50",
                                 .stem = Stem::kLargeImages,
                                 .block = BlockKind::kBottleneck,
                                 .blocks = {3, 4, 6, 3},
                                 .smallest_image = 32};

/// A bottleneck's stride is in its 3x3 convolution (torchvision's "v1.5"), not in its first one.
std::vector<ResidualBlock::Layer> layers_of(BlockKind kind, std::int64_t width,
                                            std::int64_t stride) {
  if (kind == BlockKind::kBasic) return {{width, 3, stride}, {width, 3, 1}};
  return {{width, 1, 1}, {width, 3, stride}, {4 * width, 1, 1}};
}

/// ResNet (He et al. 2016). `channels` may name the widths of the stages.
class ResNet final : public Model {
 public:
  ResNet(const Architecture& architecture, const configs::ModelConfig& config,
         const ModelShapes& shapes)
      : image_(image_shape(architecture.name, shapes, architecture.smallest_image)),
        large_images_(architecture.stem == Stem::kLargeImages) {
    auto widths = config.channels;
    if (widths.empty()) widths = {64, 128, 256, 512};
    std::int64_t in = widths.front();
    stem_ = register_module("stem", large_images_ ? convolution(image_.channels, in, 7, 2)
                                                  : convolution(image_.channels, in, 3, 1));
    stem_norm_ = register_module("stem_norm", torch::nn::BatchNorm2d(in));
    for (std::size_t stage = 0; stage < widths.size(); ++stage) {
      const int blocks = architecture.blocks.at(std::min(stage, architecture.blocks.size() - 1));
      for (int block = 0; block < blocks; ++block) {
        const std::int64_t stride = stage > 0 && block == 0 ? 2 : 1;
        const auto layers = layers_of(architecture.block, widths[stage], stride);
        const auto name = "stage" + std::to_string(stage) + "_block" + std::to_string(block);
        blocks_.push_back(register_module(name, std::make_shared<ResidualBlock>(in, layers)));
        in = layers.back().out;
      }
    }
    head_ = register_module("head", torch::nn::Linear(in, shapes.outputs));
  }

  torch::Tensor forward(const torch::Tensor& inputs, const ForwardContext& context) override {
    auto x = stem_norm_->forward(stem_->forward(as_images(inputs, image_)));
    // Before ReLU, which is monotonic: the same numbers on a quarter of the elements.
    if (large_images_) x = torch::max_pool2d(x, 3, 2, 1);
    x = torch::relu(x);
    for (auto& block : blocks_) {
      // On a CPU channels last pays while images are large; later the weights are, and would be
      // reordered in each pass.
      if (x.is_cpu() && x.size(1) >= x.size(2) * x.size(3)) x = x.contiguous();
      x = block->forward(x);
    }
    return dense(x.mean({2, 3}), head_, context);
  }

 private:
  ImageShape image_;
  bool large_images_;
  torch::nn::Conv2d stem_{nullptr};
  torch::nn::BatchNorm2d stem_norm_{nullptr};
  std::vector<std::shared_ptr<ResidualBlock>> blocks_;
  torch::nn::Linear head_{nullptr};
};

}  // namespace

std::shared_ptr<Model> make_resnet18(const configs::ModelConfig& config,
                                     const ModelShapes& shapes) {
  return std::make_shared<ResNet>(kResNet18, config, shapes);
}

std::shared_ptr<Model> make_resnet50(const configs::ModelConfig& config,
                                     const ModelShapes& shapes) {
  return std::make_shared<ResNet>(kResNet50, config, shapes);
}

}  // namespace lockstep::trainer::models
