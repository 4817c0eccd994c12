#include "data/input_scaling.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/vector_clones.hpp"
#include "data/elements.hpp"

namespace lockstep::data::detail {
namespace {

/// [features] and [channels, height, width, ...] have channels; an image [height, width] has one.
std::size_t channels_of(const ColumnInfo& inputs) {
  return inputs.shape.size() == 3 ? 1 : static_cast<std::size_t>(inputs.shape[1]);
}

void check_length(const char* name, std::size_t length, std::size_t channels,
                  const ColumnInfo& inputs) {
  if (length <= 1 || length == channels) return;
  throw base::ConfigError("data." + std::string(name) + " has " + std::to_string(length) +
                          " numbers, dataset " + base::quote(inputs.name) + " has " +
                          std::to_string(channels) + (channels == 1 ? " channel" : " channels") +
                          "; give one number, or one a channel");
}

double at_or(const std::vector<double>& values, std::size_t channel, double otherwise) {
  if (values.empty()) return otherwise;
  return values.size() == 1 ? values[0] : values[channel];
}

template <class T>
void scale_row(std::span<const T> in, std::span<float> out, float gain, float offset) {
  for (std::size_t i = 0; i < in.size(); ++i) out[i] = static_cast<float>(in[i]) * gain + offset;
}

/// Bytes, which most images are.
LOCKSTEP_VECTOR_CLONES
void scale_bytes(const std::uint8_t* __restrict in, std::size_t count, float* __restrict out,
                 float gain, float offset) {
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>(in[i]) * gain + offset;
}

template <>
void scale_row(std::span<const std::uint8_t> in, std::span<float> out, float gain, float offset) {
  scale_bytes(in.data(), in.size(), out.data(), gain, offset);
}

}  // namespace

InputScaling::InputScaling(const SourceOptions& options, const ColumnInfo& inputs) {
  const auto channels = channels_of(inputs);
  check_length("mean", options.mean.size(), channels, inputs);
  check_length("std", options.std.size(), channels, inputs);
  for (const auto value : options.std) {
    if (!(value > 0) || !std::isfinite(value)) {
      throw base::ConfigError("data.std has " + std::to_string(value) +
                              " (inputs are divided by it); give positive numbers");
    }
  }
  const auto scale = options.scale != 0           ? options.scale
                     : inputs.dtype == DType::kU8 ? 1.0 / 255.0
                                                  : 1.0;
  const auto count = options.mean.size() <= 1 && options.std.size() <= 1 ? 1 : channels;
  gain_.resize(count);
  offset_.resize(count);
  for (std::size_t channel = 0; channel < count; ++channel) {
    const auto deviation = at_or(options.std, channel, 1);
    gain_[channel] = static_cast<float>(scale / deviation);
    offset_[channel] = static_cast<float>(-at_or(options.mean, channel, 0) / deviation);
  }
  channel_elements_ = static_cast<std::size_t>(inputs.row_elements()) / count;
}

bool InputScaling::is_identity() const {
  return std::all_of(gain_.begin(), gain_.end(), [](float gain) { return gain == 1; }) &&
         std::all_of(offset_.begin(), offset_.end(), [](float offset) { return offset == 0; });
}

void InputScaling::apply(DType dtype, std::span<const std::byte> raw, std::span<float> out) const {
  with_elements(dtype, raw, [&]<class T>(std::span<const T> in) {
    if (gain_.size() == 1) {
      scale_row(in, out, gain_[0], offset_[0]);
      return;
    }
    std::size_t channel = 0;
    for (std::size_t begin = 0; begin < in.size(); begin += channel_elements_) {
      scale_row(in.subspan(begin, channel_elements_), out.subspan(begin, channel_elements_),
                gain_[channel], offset_[channel]);
      channel = channel + 1 == gain_.size() ? 0 : channel + 1;
    }
  });
}

}  // namespace lockstep::data::detail
