#pragma once
// Random changes of training samples: flips, shifted crops, an erased square, noise. What happens
// to a sample is a pure function of seed, epoch and sample number, so it depends on neither ranks,
// threads, micro-batches nor interruptions. Used by SampleSource. Immutable, any thread; nothing is
// allocated per sample.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace lockstep::data {

/// What decides a sample's random numbers.
struct SampleKey {
  std::uint64_t seed = 0;
  std::int64_t epoch = 0;
  std::int64_t sample = 0;  ///< its number in the file
};

/// Where a crop gets the pixels beyond the image's border.
enum class Padding {
  kFill,     ///< AugmentationOptions::fill
  kReflect,  ///< the image mirrored at its border pixels, which are not repeated
};

struct AugmentationOptions {
  double flip = 0;                ///< probability that left and right are exchanged
  double vertical_flip = 0;       ///< probability that top and bottom are exchanged
  std::int64_t crop_padding = 0;  ///< pixels added on each side before cropping to the old size
  Padding padding = Padding::kFill;
  std::int64_t cutout = 0;          ///< side of the erased square in pixels; 0 = none
  std::array<std::byte, 8> fill{};  ///< starts with the element that stands for erased pixels
  double noise = 0;                 ///< standard deviation of the noise on scaled inputs; 0 = none

  bool moves_pixels() const {
    return flip > 0 || vertical_flip > 0 || crop_padding > 0 || cutout > 0;
  }
  bool any() const { return moves_pixels() || noise > 0; }
};

/// [height, width] or [channels, height, width].
bool is_image(std::span<const std::int64_t> sample_shape);

class Augmentation {
 public:
  /// Changes nothing.
  Augmentation() = default;
  /// `element_bytes` is 1, 2, 4 or 8. A shape that is no image allows noise only. Throws
  /// ConfigError for numbers out of range, saying which.
  Augmentation(const AugmentationOptions& options, std::span<const std::int64_t> sample_shape,
               std::size_t element_bytes);

  bool moves_pixels() const { return options_.moves_pixels(); }
  bool adds_noise() const { return options_.noise > 0; }

  /// One sample as it lies in the file, moved to `out`: cropped with padding (a random shift),
  /// flipped, then a square erased around a random pixel (its part inside of the image: DeVries and
  /// Taylor 2017, "Cutout"). All channels move alike. Each kind of change has random numbers of its
  /// own: turning one on changes no other's. `row` and `out` are both one sample and must not
  /// overlap; they need no alignment.
  void apply(std::span<const std::byte> row, std::span<std::byte> out, const SampleKey& key) const;

  /// Adds normal noise (within 3.47 standard deviations) to one sample after scaling.
  void add_noise(std::span<float> values, const SampleKey& key) const;

 private:
  /// What is done to one image. The shift is where its first pixel comes from.
  struct Moves {
    std::int64_t down = 0, right = 0;
    bool flip = false, vertical_flip = false;
    std::int64_t top = 0, bottom = 0, left = 0, end = 0;  ///< erased: [top, bottom) x [left, end)
  };

  Moves draw(const SampleKey& key) const;
  template <class Element>
  void move(const std::byte* row, std::byte* out, const Moves& moves) const;

  AugmentationOptions options_;
  std::uint64_t flip_below_ = 0, vertical_flip_below_ = 0;  ///< probabilities in 2^-32
  std::int64_t channels_ = 1, height_ = 0, width_ = 0;
  std::size_t element_bytes_ = 1;
};

}  // namespace lockstep::data
