#include "data/augmentation.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>

#include "base/error.hpp"
#include "base/philox.hpp"
#include "base/vector_clones.hpp"

namespace lockstep::data {
namespace {

/// What a sample's random words are for. Do not change: the values decide every run's bits.
enum class Stream : std::uint32_t { kFlip = 1, kVerticalFlip, kCrop, kCutout, kNoise };

base::PhiloxKey philox_key(const SampleKey& key) {
  const auto bits = base::keyed_random(key.seed, base::RandomPurpose::kTransform,
                                       static_cast<std::uint64_t>(key.epoch),
                                       static_cast<std::uint64_t>(key.sample));
  return {static_cast<std::uint32_t>(bits), static_cast<std::uint32_t>(bits >> 32)};
}

base::PhiloxCounter words_of(Stream stream, base::PhiloxKey key) {
  return base::philox4x32({static_cast<std::uint32_t>(stream), 0, 0, 0}, key);
}

/// A word as a number below `count`, which has at most 31 bits.
std::int64_t below(std::uint32_t word, std::int64_t count) {
  return static_cast<std::int64_t>(std::uint64_t{word} * static_cast<std::uint64_t>(count) >> 32);
}

std::uint64_t threshold(const char* name, double probability) {
  if (!(probability >= 0 && probability <= 1)) {
    throw base::ConfigError("data.augment." + std::string(name) + " is " +
                            std::to_string(probability) + " (it is a probability); give 0 to 1");
  }
  return static_cast<std::uint64_t>(std::ldexp(probability, 32));
}

/// `place` mirrored at the first and the last of `count` pixels, from at most count - 1 beyond.
std::int64_t reflected(std::int64_t place, std::int64_t count) {
  if (place < 0) return -place;
  return place < count ? place : 2 * (count - 1) - place;
}

/// Elements are copied as whatever integer has their size, from and to any address.
template <class Element>
Element load(const std::byte* from) {
  Element element;
  std::memcpy(&element, from, sizeof(Element));
  return element;
}

template <class Element>
void copy_reversed(const std::byte* from, std::byte* to, std::size_t count) {
  std::size_t done = 0;
  if constexpr (sizeof(Element) == 1) {
    // Eight bytes at a time, for want of a byte shuffle in the oldest processors.
    for (; done + 8 <= count; done += 8) {
      const auto eight = __builtin_bswap64(load<std::uint64_t>(from + count - done - 8));
      std::memcpy(to + done, &eight, sizeof(eight));
    }
  }
  for (; done < count; ++done) {
    const auto element = load<Element>(from + (count - 1 - done) * sizeof(Element));
    std::memcpy(to + done * sizeof(Element), &element, sizeof(Element));
  }
}

template <class Element>
void fill(std::byte* to, std::int64_t count, Element element) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(to + static_cast<std::size_t>(i) * sizeof(Element), &element, sizeof(Element));
  }
}

LOCKSTEP_VECTOR_CLONES void add_pairs(float* values, std::size_t pairs, float deviation,
                                      base::PhiloxKey key) {
  for (std::size_t i = 0; i < pairs; ++i) {
    const auto words =
        base::philox4x32({static_cast<std::uint32_t>(Stream::kNoise), static_cast<std::uint32_t>(i),
                          static_cast<std::uint32_t>(std::uint64_t{i} >> 32), 0},
                         key);
    values[2 * i] += deviation * base::nearly_normal(words[0], words[1]);
    values[2 * i + 1] += deviation * base::nearly_normal(words[2], words[3]);
  }
}

}  // namespace

bool is_image(std::span<const std::int64_t> sample_shape) {
  return sample_shape.size() == 2 || sample_shape.size() == 3;
}

Augmentation::Augmentation(const AugmentationOptions& options,
                           std::span<const std::int64_t> sample_shape, std::size_t element_bytes)
    : options_(options),
      flip_below_(threshold("flip", options.flip)),
      vertical_flip_below_(threshold("vertical_flip", options.vertical_flip)),
      element_bytes_(element_bytes) {
  if (!(options.noise >= 0 && std::isfinite(options.noise))) {
    throw base::ConfigError("data.augment.noise is " + std::to_string(options.noise) +
                            " (it is a standard deviation); give 0 or more");
  }
  if (!options.moves_pixels()) return;
  LOCKSTEP_EXPECT(is_image(sample_shape) && element_bytes >= 1 && element_bytes <= 8 &&
                      (element_bytes & (element_bytes - 1)) == 0,
                  "only images of plain elements can be augmented");
  channels_ = sample_shape.size() == 3 ? sample_shape[0] : 1;
  height_ = sample_shape[sample_shape.size() - 2];
  width_ = sample_shape[sample_shape.size() - 1];
  const auto shorter = std::min(height_, width_);
  const auto refuse = [&](const char* name, std::int64_t value, const std::string& why,
                          std::int64_t most) {
    throw base::ConfigError("data.augment." + std::string(name) + " is " + std::to_string(value) +
                            ", images have " + std::to_string(height_) + " x " +
                            std::to_string(width_) + " pixels (" + why + "); give 0 to " +
                            std::to_string(most));
  };
  if (options.crop_padding < 0 || options.crop_padding >= shorter) {
    refuse("crop_padding", options.crop_padding, "a shift must leave a part of them", shorter - 1);
  }
  if (options.cutout < 0 || options.cutout > shorter) {
    refuse("cutout", options.cutout, "the square must fit in", shorter);
  }
}

Augmentation::Moves Augmentation::draw(const SampleKey& sample) const {
  const auto key = philox_key(sample);
  Moves moves;
  if (options_.flip > 0) moves.flip = words_of(Stream::kFlip, key)[0] < flip_below_;
  if (options_.vertical_flip > 0) {
    moves.vertical_flip = words_of(Stream::kVerticalFlip, key)[0] < vertical_flip_below_;
  }
  if (options_.crop_padding > 0) {
    const auto words = words_of(Stream::kCrop, key);
    const auto places = 2 * options_.crop_padding + 1;
    moves.down = below(words[0], places) - options_.crop_padding;
    moves.right = below(words[1], places) - options_.crop_padding;
  }
  if (options_.cutout > 0) {
    const auto words = words_of(Stream::kCutout, key);
    const auto top = below(words[0], height_) - options_.cutout / 2;
    const auto left = below(words[1], width_) - options_.cutout / 2;
    moves.top = std::max<std::int64_t>(top, 0);
    moves.bottom = std::min(top + options_.cutout, height_);
    moves.left = std::max<std::int64_t>(left, 0);
    moves.end = std::min(left + options_.cutout, width_);
  }
  return moves;
}

void Augmentation::apply(std::span<const std::byte> row, std::span<std::byte> out,
                         const SampleKey& key) const {
  LOCKSTEP_EXPECT(row.size() == out.size(), "a sample is as large after augmentation as before");
  if (!moves_pixels()) {
    std::memcpy(out.data(), row.data(), row.size());
    return;
  }
  LOCKSTEP_EXPECT(
      row.size() == static_cast<std::size_t>(channels_ * height_ * width_) * element_bytes_,
      "a sample of another shape was given to augmentation");
  const auto moves = draw(key);
  switch (element_bytes_) {
    case 1: move<std::uint8_t>(row.data(), out.data(), moves); break;
    case 2: move<std::uint16_t>(row.data(), out.data(), moves); break;
    case 4: move<std::uint32_t>(row.data(), out.data(), moves); break;
    default: move<std::uint64_t>(row.data(), out.data(), moves); break;
  }
}

template <class Element>
void Augmentation::move(const std::byte* row, std::byte* out, const Moves& moves) const {
  const auto filling = load<Element>(options_.fill.data());
  const auto at = [](auto* pixels, std::int64_t place) {
    return pixels + place * static_cast<std::int64_t>(sizeof(Element));
  };
  // Pixels [begin, end) of a line of the crop lie inside of the image, if its line does.
  const auto begin = std::max<std::int64_t>(0, -moves.right);
  const auto end = std::min(width_, width_ - moves.right);
  const auto line = [&](const std::byte* from, std::byte* to) {
    const auto count = static_cast<std::size_t>(end - begin);
    if (moves.flip) {
      copy_reversed<Element>(at(from, begin + moves.right), at(to, width_ - end), count);
    } else {
      std::memcpy(at(to, begin), at(from, begin + moves.right), count * sizeof(Element));
    }
    const auto beyond = [&](std::int64_t first, std::int64_t last) {
      for (auto x = first; x < last; ++x) {
        const auto pixel = options_.padding == Padding::kReflect
                               ? load<Element>(at(from, reflected(x + moves.right, width_)))
                               : filling;
        std::memcpy(at(to, moves.flip ? width_ - 1 - x : x), &pixel, sizeof(Element));
      }
    };
    beyond(0, begin);
    beyond(end, width_);
  };

  for (std::int64_t plane = 0; plane < channels_ * height_; plane += height_) {
    for (std::int64_t y = 0; y < height_; ++y) {
      auto source = (moves.vertical_flip ? height_ - 1 - y : y) + moves.down;
      const bool inside = source >= 0 && source < height_;
      auto* to = at(out, (plane + y) * width_);
      if (inside || options_.padding == Padding::kReflect) {
        source = reflected(source, height_);
        line(at(row, (plane + source) * width_), to);
      } else {
        fill(to, width_, filling);
      }
      if (y >= moves.top && y < moves.bottom) {
        fill(at(to, moves.left), moves.end - moves.left, filling);
      }
    }
  }
}

void Augmentation::add_noise(std::span<float> values, const SampleKey& sample) const {
  if (!adds_noise()) return;
  const auto key = philox_key(sample);
  const auto deviation = static_cast<float>(options_.noise);
  const auto pairs = values.size() / 2;
  add_pairs(values.data(), pairs, deviation, key);
  if (values.size() % 2 != 0) {
    // The next pair's first number; its second has no place.
    const auto words = base::philox4x32(
        {static_cast<std::uint32_t>(Stream::kNoise), static_cast<std::uint32_t>(pairs),
         static_cast<std::uint32_t>(std::uint64_t{pairs} >> 32), 0},
        key);
    values.back() += deviation * base::nearly_normal(words[0], words[1]);
  }
}

}  // namespace lockstep::data
