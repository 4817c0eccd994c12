#pragma once
// What image models share: reading channels, height and width from the data's sample shape.

#include <torch/torch.h>

#include "trainer/models/models.hpp"

namespace lockstep::trainer::models {

struct ImageShape {
  std::int64_t channels = 1;
  std::int64_t height = 0;
  std::int64_t width = 0;
};

/// [height, width] or [channels, height, width]. Throws ConfigError naming `model` otherwise, and
/// when a side is smaller than `smallest`.
ImageShape image_shape(const std::string& model, const ModelShapes& shapes, std::int64_t smallest);

/// `inputs` as [batch, channels, height, width], channels last in memory: what follows keeps that
/// order, in which pooling is ten times faster here and convolutions are a tenth faster.
torch::Tensor as_images(const torch::Tensor& inputs, const ImageShape& shape);

}  // namespace lockstep::trainer::models
