#include "trainer/models/images.hpp"

#include "base/error.hpp"

namespace lockstep::trainer::models {

ImageShape image_shape(const std::string& model, const ModelShapes& shapes, std::int64_t smallest) {
  const auto& shape = shapes.input_shape;
  ImageShape image;
  if (shape.size() == 2) {
    image = {1, shape[0], shape[1]};
  } else if (shape.size() == 3) {
    image = {shape[0], shape[1], shape[2]};
  }
  if (image.height < smallest || image.width < smallest) {
    std::string text;
    for (const auto side : shape) text += (text.empty() ? "" : ", ") + std::to_string(side);
    throw base::ConfigError("model '" + model + "' does not fit samples of shape [" + text +
                            "] (it needs [height, width] or [channels, height, width] with sides "
                            "of at least " +
                            std::to_string(smallest) + "); choose another model.name");
  }
  return image;
}

torch::Tensor as_images(const torch::Tensor& inputs, const ImageShape& shape) {
  const auto images = inputs.view({inputs.size(0), shape.channels, shape.height, shape.width});
  if (shape.channels > 1) return images.contiguous(at::MemoryFormat::ChannelsLast);
  // With one channel both orders are the same memory; only the strides tell which one is meant.
  return images.as_strided(images.sizes(), {shape.height * shape.width, 1, shape.width, 1});
}

}  // namespace lockstep::trainer::models
