#include "data/augmentation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <set>
#include <vector>

#include "base/error.hpp"
#include "raises.hpp"

namespace lockstep::data {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using tests::message_of;

using Shape = std::vector<std::int64_t>;

template <class T>
using Image = std::vector<T>;

/// Pixels that all differ, and from 0.
template <class T>
Image<T> numbered(const Shape& shape) {
  Image<T> image(static_cast<std::size_t>(
      std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>())));
  std::iota(image.begin(), image.end(), T{1});
  return image;
}

template <class T>
Image<T> applied(const AugmentationOptions& options, const Shape& shape, const Image<T>& image,
                 const SampleKey& key) {
  Image<T> out(image.size());
  Augmentation(options, shape, sizeof(T))
      .apply(std::as_bytes(std::span(image)), std::as_writable_bytes(std::span(out)), key);
  return out;
}

SampleKey any_key() {
  return {.seed = *rc::gen::arbitrary<std::uint64_t>(),
          .epoch = *rc::gen::inRange<std::int64_t>(0, 1'000'000),
          .sample = *rc::gen::inRange<std::int64_t>(0, std::int64_t{1} << 40)};
}

/// Three numbers; a plane has at most 250 pixels, so that bytes can be numbered.
Shape any_shape(std::int64_t least = 1) {
  return {1, *rc::gen::inRange<std::int64_t>(least, 11),
          *rc::gen::inRange<std::int64_t>(least, 26)};
}

/// The image as if it went on beyond its borders.
template <class T>
T pixel_at(const Image<T>& image, const Shape& shape, std::int64_t y, std::int64_t x,
           Padding padding, T filling) {
  const auto mirrored = [](std::int64_t place, std::int64_t count) {
    return place < 0 ? -place : place >= count ? 2 * count - 2 - place : place;
  };
  const bool inside = y >= 0 && y < shape[1] && x >= 0 && x < shape[2];
  if (!inside && padding == Padding::kFill) return filling;
  return image[static_cast<std::size_t>(mirrored(y, shape[1]) * shape[2] + mirrored(x, shape[2]))];
}

template <class T>
Image<T> shifted(const Image<T>& image, const Shape& shape, std::int64_t down, std::int64_t right,
                 Padding padding, T filling) {
  Image<T> out;
  for (std::int64_t y = 0; y < shape[1]; ++y) {
    for (std::int64_t x = 0; x < shape[2]; ++x) {
      out.push_back(pixel_at(image, shape, y + down, x + right, padding, filling));
    }
  }
  return out;
}

// Worked by an independent implementation of the definitions in philox.hpp and augmentation.hpp
// (Python, numpy). The bits of every augmented run hang on them.
TEST(Augmentation, NeverChangesItsBits) {
  const AugmentationOptions options{
      .flip = 0.5, .vertical_flip = 0.5, .crop_padding = 1, .cutout = 2};
  const auto image = numbered<std::uint8_t>({1, 4, 4});
  const auto result = [&](std::int64_t epoch, std::int64_t sample) {
    return applied(options, {1, 4, 4}, image, {.seed = 5, .epoch = epoch, .sample = sample});
  };

  EXPECT_THAT(result(0, 0), ElementsAre(0, 12, 11, 10, 0, 8, 7, 6, 0, 4, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(result(0, 1), ElementsAre(5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 15, 16, 0, 0, 0, 0));
  EXPECT_THAT(result(1, 0), ElementsAre(0, 0, 0, 0, 3, 2, 1, 0, 7, 6, 0, 0, 11, 10, 0, 0));
  EXPECT_THAT(result(2, 7), ElementsAre(4, 3, 2, 1, 8, 7, 6, 5, 0, 0, 10, 9, 0, 0, 14, 13));
}

TEST(Augmentation, NeverChangesTheBitsOfItsNoise) {
  std::vector<float> values(3, 1.0f);

  Augmentation({.noise = 0.1}, Shape{3}, 4).add_noise(values, {.seed = 5, .epoch = 1, .sample = 2});

  EXPECT_THAT(values, ElementsAre(0x1.023712p+0f, 0x1.05f142p+0f, 0x1.219a0ep+0f));
}

TEST(Augmentation, FlipsLinesAndTheirOrder) {
  const Image<std::uint16_t> image{1, 2, 3, 4, 5, 6};

  EXPECT_THAT(applied({.flip = 1}, {2, 3}, image, {}), ElementsAre(3, 2, 1, 6, 5, 4));
  EXPECT_THAT(applied({.vertical_flip = 1}, {2, 3}, image, {}), ElementsAre(4, 5, 6, 1, 2, 3));
  EXPECT_THAT(applied({.flip = 1, .vertical_flip = 1}, {2, 3}, image, {}),
              ElementsAre(6, 5, 4, 3, 2, 1));
}

TEST(Augmentation, MovesAllChannelsAlike) {
  const AugmentationOptions options{
      .flip = 0.5, .vertical_flip = 0.5, .crop_padding = 2, .cutout = 3};
  const auto plane = numbered<std::int32_t>({1, 6, 5});
  Image<std::int32_t> image;
  for (int channel = 0; channel < 3; ++channel) {
    image.insert(image.end(), plane.begin(), plane.end());
  }

  for (std::int64_t sample = 0; sample < 50; ++sample) {
    const auto expected = applied(options, {6, 5}, plane, {.sample = sample});
    const auto out = applied(options, {3, 6, 5}, image, {.sample = sample});

    for (std::size_t begin = 0; begin < out.size(); begin += plane.size()) {
      EXPECT_THAT(std::span(out).subspan(begin, plane.size()), ElementsAreArray(expected));
    }
  }
}

template <class T>
void flipping_twice_is_no_change(const AugmentationOptions& options) {
  const auto shape = any_shape();
  const auto image = numbered<T>(shape);
  const auto key = any_key();

  const auto once = applied(options, shape, image, key);

  RC_ASSERT(applied(options, shape, once, key) == image);
  if (shape[1] > 1 && shape[2] > 1) RC_ASSERT(once != image);
}

RC_GTEST_PROP(Augmentation, FlippedTwiceIsAsItWas, ()) {
  const auto options =
      *rc::gen::element(AugmentationOptions{.flip = 1}, AugmentationOptions{.vertical_flip = 1},
                        AugmentationOptions{.flip = 1, .vertical_flip = 1});
  flipping_twice_is_no_change<std::uint8_t>(options);
  flipping_twice_is_no_change<std::uint16_t>(options);
  flipping_twice_is_no_change<float>(options);
  flipping_twice_is_no_change<std::int64_t>(options);
}

template <class T>
void crop_is_a_shift(Padding padding) {
  const auto shape = any_shape(2);
  const auto shorter = std::min(shape[1], shape[2]);
  const auto image = numbered<T>(shape);
  AugmentationOptions options{.crop_padding = *rc::gen::inRange<std::int64_t>(1, shorter),
                              .padding = padding};
  const T filling{77};
  std::memcpy(options.fill.data(), &filling, sizeof(T));

  const auto out = applied(options, shape, image, any_key());

  int found = 0;
  const auto most = options.crop_padding;
  for (auto down = -most; down <= most; ++down) {
    for (auto right = -most; right <= most; ++right) {
      found += shifted(image, shape, down, right, padding, filling) == out ? 1 : 0;
    }
  }
  RC_ASSERT(found >= 1);
}

RC_GTEST_PROP(Augmentation, CropsToOneOfTheShiftedImages, ()) {
  for (const auto padding : {Padding::kFill, Padding::kReflect}) {
    crop_is_a_shift<std::uint8_t>(padding);
    crop_is_a_shift<std::int16_t>(padding);
    crop_is_a_shift<float>(padding);
    crop_is_a_shift<double>(padding);
  }
}

TEST(Augmentation, TakesEachShiftEquallyOften) {
  // Of one plane of 4 x 4 shifted by at most 1: the nine shifts differ in the pixel at (1, 1).
  constexpr int kDraws = 9000;
  const auto image = numbered<std::uint8_t>({1, 4, 4});
  std::map<std::uint8_t, int> times;

  for (std::int64_t sample = 0; sample < kDraws; ++sample) {
    ++times[applied({.crop_padding = 1}, {4, 4}, image, {.sample = sample})[5]];
  }

  // Five standard deviations of 9000 draws at 1 in 9: 5 * sqrt(9000 * 8 / 81) = 149.
  EXPECT_EQ(times.size(), 9u);
  for (const auto& [pixel, count] : times) EXPECT_NEAR(count, kDraws / 9, 149) << int{pixel};
}

RC_GTEST_PROP(Augmentation, ErasesOneSquareAroundAPixel, ()) {
  const auto shape = any_shape();
  const auto image = numbered<std::uint8_t>(shape);
  const auto side = *rc::gen::inRange<std::int64_t>(1, std::min(shape[1], shape[2]) + 1);

  const auto out = applied({.cutout = side}, shape, image, any_key());

  int found = 0;
  for (std::int64_t middle_y = 0; middle_y < shape[1]; ++middle_y) {
    for (std::int64_t middle_x = 0; middle_x < shape[2]; ++middle_x) {
      auto expected = image;
      for (auto y = middle_y - side / 2; y < middle_y - side / 2 + side; ++y) {
        for (auto x = middle_x - side / 2; x < middle_x - side / 2 + side; ++x) {
          if (y < 0 || y >= shape[1] || x < 0 || x >= shape[2]) continue;
          expected[static_cast<std::size_t>(y * shape[2] + x)] = 0;
        }
      }
      found += expected == out ? 1 : 0;
    }
  }
  RC_ASSERT(found >= 1);
}

RC_GTEST_PROP(Augmentation, DrawsForEachKindOfChangeApart, ()) {
  const auto shape = any_shape();
  const auto shorter = std::min(shape[1], shape[2]);
  const auto key = any_key();
  AugmentationOptions all{
      .flip = 0.5,
      .vertical_flip = 0.5,
      .crop_padding = *rc::gen::inRange<std::int64_t>(0, shorter),
      .padding = *rc::gen::element(Padding::kFill, Padding::kReflect),
      .cutout = *rc::gen::inRange<std::int64_t>(0, shorter + 1),
      .fill = {std::byte{7}, std::byte{8}},
  };
  const auto image = numbered<std::uint16_t>(shape);

  auto one_by_one =
      applied({.crop_padding = all.crop_padding, .padding = all.padding, .fill = all.fill}, shape,
              image, key);
  one_by_one = applied({.flip = 0.5}, shape, one_by_one, key);
  one_by_one = applied({.vertical_flip = 0.5}, shape, one_by_one, key);
  one_by_one = applied({.cutout = all.cutout, .fill = all.fill}, shape, one_by_one, key);

  RC_ASSERT(applied(all, shape, image, key) == one_by_one);
}

TEST(Augmentation, FlipsAsOftenAsAsked) {
  constexpr std::int64_t kDraws = 10'000;
  const Image<std::uint8_t> image{1, 2};
  for (const double probability : {0.1, 0.5, 0.9}) {
    for (const auto& options : {AugmentationOptions{.flip = probability},
                                AugmentationOptions{.vertical_flip = probability}}) {
      const Shape shape = options.flip > 0 ? Shape{1, 2} : Shape{2, 1};
      int over_samples = 0;
      int over_epochs = 0;
      for (std::int64_t i = 0; i < kDraws; ++i) {
        over_samples += applied(options, shape, image, {.seed = 3, .sample = i})[0] == 2 ? 1 : 0;
        over_epochs += applied(options, shape, image, {.seed = 3, .epoch = i})[0] == 2 ? 1 : 0;
      }

      const double within = 5 * std::sqrt(kDraws * probability * (1 - probability));
      EXPECT_NEAR(over_samples, kDraws * probability, within);
      EXPECT_NEAR(over_epochs, kDraws * probability, within);
    }
  }
}

TEST(Augmentation, DrawsAnewForEachSeedEpochAndSample) {
  const AugmentationOptions options{.crop_padding = 31, .noise = 1};
  const auto image = numbered<std::int64_t>({1, 32, 32});
  std::set<Image<std::int64_t>> images;
  std::set<std::vector<float>> noises;

  for (const std::uint64_t seed : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{1} << 32}) {
    for (const std::int64_t epoch : {0, 1, 2}) {
      for (const std::int64_t sample : {std::int64_t{0}, std::int64_t{1}, std::int64_t{1} << 32}) {
        const SampleKey key{.seed = seed, .epoch = epoch, .sample = sample};
        images.insert(applied(options, {32, 32}, image, key));
        std::vector<float> noise(4);
        Augmentation(options, Shape{32, 32}, 8).add_noise(noise, key);
        noises.insert(noise);
      }
    }
  }

  EXPECT_EQ(images.size(), 27u);
  EXPECT_EQ(noises.size(), 27u);
}

RC_GTEST_PROP(Augmentation, DependsOnNoSampleBefore, ()) {
  const auto shape = any_shape();
  const auto shorter = std::min(shape[1], shape[2]);
  const Augmentation augmentation({.flip = 0.5,
                                   .vertical_flip = 0.5,
                                   .crop_padding = shorter - 1,
                                   .cutout = shorter,
                                   .noise = 0.5},
                                  shape, 1);
  const auto image = numbered<std::uint8_t>(shape);
  const auto result = [&](std::int64_t sample) {
    Image<std::uint8_t> out(image.size());
    std::vector<float> noise(7);
    const SampleKey key{.seed = 1, .epoch = 2, .sample = sample};
    augmentation.apply(std::as_bytes(std::span(image)), std::as_writable_bytes(std::span(out)),
                       key);
    augmentation.add_noise(noise, key);
    return std::pair(out, noise);
  };
  const auto samples =
      *rc::gen::container<std::vector<std::int64_t>>(rc::gen::inRange<std::int64_t>(0, 50));

  std::map<std::int64_t, decltype(result(0))> forwards, backwards;
  for (auto i = samples.begin(); i != samples.end(); ++i) forwards[*i] = result(*i);
  for (auto i = samples.rbegin(); i != samples.rend(); ++i) backwards[*i] = result(*i);

  RC_ASSERT(forwards == backwards);
}

TEST(Augmentation, NeedsNoAlignment) {
  const AugmentationOptions options{
      .flip = 1, .crop_padding = 2, .padding = Padding::kReflect, .cutout = 2};
  const auto image = numbered<double>({1, 5, 9});
  const auto expected = applied(options, {5, 9}, image, {});
  const auto bytes = image.size() * sizeof(double);
  std::vector<std::byte> in(bytes + 1), out(bytes + 3);
  std::memcpy(in.data() + 1, image.data(), bytes);

  Augmentation(options, Shape{5, 9}, sizeof(double))
      .apply(std::span(in).subspan(1), std::span(out).subspan(3), {});

  EXPECT_EQ(std::memcmp(out.data() + 3, expected.data(), bytes), 0);
}

TEST(Augmentation, CopiesWhenItHasNothingToMove) {
  const auto image = numbered<std::uint8_t>({7});

  EXPECT_EQ(applied({.noise = 1}, {7}, image, {}), image);
}

TEST(Augmentation, AddsNoiseOfItsStandardDeviation) {
  constexpr std::size_t kDraws = 100'001;
  std::vector<float> values(kDraws, 3.0f);

  Augmentation({.noise = 0.5}, Shape{1}, 4).add_noise(values, {.seed = 9});

  double sum = 0;
  double squares = 0;
  for (const float value : values) {
    const double noise = value - 3.0;
    EXPECT_LE(std::abs(noise), 0.5 * 3.47);
    sum += noise;
    squares += noise * noise;
  }
  // Five standard deviations of the mean, and of the mean square, whose own is at most sqrt(2) of
  // it (a normal number's; these have shorter tails).
  const double root = std::sqrt(static_cast<double>(kDraws));
  EXPECT_NEAR(sum / kDraws, 0, 5 * 0.5 / root);
  EXPECT_NEAR(squares / kDraws, 0.25, 5 * std::sqrt(2.0) * 0.25 / root);
}

TEST(Augmentation, GivesAValueItsNoiseWhateverComesAfterIt) {
  const Augmentation augmentation({.noise = 1}, Shape{1}, 4);
  std::vector<float> all(9), fewer(4), odd(5);

  augmentation.add_noise(all, {});
  augmentation.add_noise(fewer, {});
  augmentation.add_noise(odd, {});

  EXPECT_THAT(fewer, ElementsAreArray(all.begin(), all.begin() + 4));
  EXPECT_THAT(odd, ElementsAreArray(all.begin(), all.begin() + 5));
}

TEST(Augmentation, RefusesNumbersThatDoNotFitTheImage) {
  const auto refusal = [](const AugmentationOptions& options) {
    return message_of<base::ConfigError>([&] { Augmentation(options, Shape{3, 28, 20}, 1); });
  };

  EXPECT_EQ(refusal({.crop_padding = 20}),
            "data.augment.crop_padding is 20, images have 28 x 20 pixels (a shift must leave a "
            "part of them); give 0 to 19");
  EXPECT_EQ(refusal({.cutout = 21}),
            "data.augment.cutout is 21, images have 28 x 20 pixels (the square must fit in); give "
            "0 to 20");
  EXPECT_THAT(refusal({.flip = 1.5}), HasSubstr("data.augment.flip is 1.5"));
  EXPECT_THAT(refusal({.vertical_flip = -1}), HasSubstr("data.augment.vertical_flip is -1"));
  EXPECT_THAT(refusal({.noise = std::nan("")}), HasSubstr("data.augment.noise is nan"));
}

TEST(IsImage, HoldsForOnePlaneAndForChannels) {
  EXPECT_FALSE(is_image(Shape{784}));
  EXPECT_TRUE(is_image(Shape{28, 28}));
  EXPECT_TRUE(is_image(Shape{3, 32, 32}));
  EXPECT_FALSE(is_image(Shape{3, 8, 32, 32}));
}

}  // namespace
}  // namespace lockstep::data
