#include "data/import/image_file.hpp"

#include <png.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>

#include "base/error.hpp"
#include "base/narrow.hpp"
#include "base/text.hpp"
#include "data/file_descriptor.hpp"

namespace lockstep::data::detail {
namespace {

constexpr std::uint64_t kMostFileBytes = std::uint64_t{256} << 20;
constexpr std::uint64_t kMostPixels = std::uint64_t{1} << 26;
/// Fraction bits of the resize filter, as Pillow's: 32 less 8 of a pixel and 2 for sums beyond it.
constexpr int kFilterBits = 32 - 8 - 2;

using Bytes = std::vector<std::byte>;

Bytes contents_of(const std::string& path) {
  const FileDescriptor file(path);
  if (file.size() > kMostFileBytes) {
    throw base::DataError("is larger than " + base::format_bytes(kMostFileBytes));
  }
  Bytes bytes(static_cast<std::size_t>(file.size()));
  file.read_at(0, bytes);
  return bytes;
}

bool is_png(const Bytes& bytes) {
  return bytes.size() >= 8 &&
         png_sig_cmp(reinterpret_cast<png_const_bytep>(bytes.data()), 0, 8) == 0;
}

bool is_jpeg(const Bytes& bytes) {
  return bytes.size() >= 3 && bytes[0] == std::byte{0xff} && bytes[1] == std::byte{0xd8} &&
         bytes[2] == std::byte{0xff};
}

void check_pixels(std::uint64_t height, std::uint64_t width) {
  if (height == 0 || width == 0 || height > kMostPixels || width > kMostPixels ||
      height * width > kMostPixels) {
    throw base::DataError("claims " + std::to_string(height) + " x " + std::to_string(width) +
                          " pixels (more than " + base::format_count(kMostPixels) + ", or none)");
  }
}

/// A PNG through libpng's simplified interface.
class Png {
 public:
  explicit Png(const Bytes& bytes) {
    image_.version = PNG_IMAGE_VERSION;
    check(png_image_begin_read_from_memory(&image_, bytes.data(), bytes.size()));
    // 16-bit samples are taken as they are and not as linear light.
    image_.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    check_pixels(image_.height, image_.width);
  }
  ~Png() { png_image_free(&image_); }
  Png(const Png&) = delete;
  Png& operator=(const Png&) = delete;

  ImageHeader header() const {
    return {.height = image_.height,
            .width = image_.width,
            .gray = (image_.format & PNG_FORMAT_FLAG_COLOR) == 0,
            .transparent = (image_.format & PNG_FORMAT_FLAG_ALPHA) != 0};
  }

  Image pixels() {
    const auto facts = header();
    const std::size_t channels = facts.gray ? 1 : 3;
    const std::size_t stored = channels + (facts.transparent ? 1 : 0);
    image_.format = (facts.gray ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB) |
                    (facts.transparent ? PNG_FORMAT_FLAG_ALPHA : 0);
    std::vector<std::uint8_t> raw(PNG_IMAGE_SIZE(image_));
    check(png_image_finish_read(&image_, nullptr, raw.data(), 0, nullptr));
    if (!facts.transparent) {
      return {facts.height, facts.width, static_cast<std::int64_t>(channels), std::move(raw)};
    }
    Image image{facts.height, facts.width, static_cast<std::int64_t>(channels), {}};
    image.pixels.reserve(raw.size() / stored * channels);
    for (std::size_t i = 0; i < raw.size(); i += stored) {
      const unsigned alpha = raw[i + channels];
      for (std::size_t c = 0; c < channels; ++c) {
        image.pixels.push_back(static_cast<std::uint8_t>((raw[i + c] * alpha + 127) / 255));
      }
    }
    return image;
  }

 private:
  void check(int succeeded) {
    // A warning leaves pixels, but of a file that is not as it was written.
    if (succeeded != 0 && (image_.warning_or_error & PNG_IMAGE_ERROR) == 0) return;
    throw base::DataError(std::string("is damaged (libpng: ") + image_.message + ")");
  }

  png_image image_{};
};

/// A JPEG through TurboJPEG.
class Jpeg {
 public:
  explicit Jpeg(const Bytes& bytes) : bytes_(bytes), decoder_(tjInitDecompress()) {
    if (!decoder_) throw std::bad_alloc();
    check(tjDecompressHeader3(decoder_.get(), data(), size(), &width_, &height_, &subsampling_,
                              &colors_));
    check_pixels(static_cast<std::uint64_t>(height_), static_cast<std::uint64_t>(width_));
  }

  ImageHeader header() const {
    return {.height = height_, .width = width_, .gray = colors_ == TJCS_GRAY, .transparent = false};
  }

  Image pixels() {
    if (colors_ == TJCS_CMYK || colors_ == TJCS_YCCK) {
      throw base::DataError("is a JPEG in CMYK, made for printing (images are gray or RGB)");
    }
    const bool gray = colors_ == TJCS_GRAY;
    Image image{height_, width_, gray ? 1 : 3, {}};
    image.pixels.resize(static_cast<std::size_t>(height_) * static_cast<std::size_t>(width_) *
                        static_cast<std::size_t>(image.channels));
    // The accurate transform has the same bits with and without vector instructions.
    check(tjDecompress2(decoder_.get(), data(), size(), image.pixels.data(), width_, 0, height_,
                        gray ? TJPF_GRAY : TJPF_RGB, TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS));
    return image;
  }

 private:
  void check(int result) const {
    if (result == 0) return;
    throw base::DataError(std::string("is damaged (libjpeg: ") + tjGetErrorStr2(decoder_.get()) +
                          ")");
  }
  const unsigned char* data() const {
    return reinterpret_cast<const unsigned char*>(bytes_.data());
  }
  unsigned long size() const { return static_cast<unsigned long>(bytes_.size()); }

  struct Destroy {
    void operator()(void* decoder) const { tjDestroy(decoder); }
  };
  const Bytes& bytes_;
  std::unique_ptr<void, Destroy> decoder_;
  int width_ = 0;
  int height_ = 0;
  int subsampling_ = 0;
  int colors_ = 0;
};

/// Calls `use` with the decoder of the file's format.
template <class Use>
decltype(auto) with_decoder(const Bytes& bytes, const Use& use) {
  if (is_png(bytes)) return use(Png(bytes));
  if (is_jpeg(bytes)) return use(Jpeg(bytes));
  throw base::DataError("is neither a PNG nor a JPEG file");
}

/// ITU-R 601 luma in 16-bit fixed point, as Pillow's.
std::uint8_t luma(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >>
                                   16);
}

Image with_channels(Image image, std::int64_t channels) {
  if (image.channels == channels) return image;
  Image other{image.height, image.width, channels, {}};
  other.pixels.reserve(image.pixels.size() * static_cast<std::size_t>(channels) /
                       static_cast<std::size_t>(image.channels));
  if (channels == 1) {
    for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
      other.pixels.push_back(luma(&image.pixels[i]));
    }
  } else {
    for (const auto value : image.pixels) other.pixels.insert(other.pixels.end(), 3, value);
  }
  return other;
}

/// Which pixels of a line make one of the new line, and how much each counts.
struct Taps {
  std::size_t first = 0;
  std::vector<std::int32_t> weights;
};

std::vector<Taps> taps_of(std::int64_t from, std::int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double filter_scale = std::max(scale, 1.0);
  std::vector<Taps> taps(static_cast<std::size_t>(to));
  for (std::int64_t i = 0; i < to; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<std::int64_t>(
        0, static_cast<std::int64_t>(std::floor(center - filter_scale + 0.5)));
    const auto last =
        std::min(from, static_cast<std::int64_t>(std::floor(center + filter_scale + 0.5)));
    const double to_filter = 1.0 / filter_scale;
    std::vector<double> weights;
    double sum = 0;
    for (auto x = first; x < last; ++x) {
      const double distance = std::fabs((static_cast<double>(x) - center + 0.5) * to_filter);
      weights.push_back(distance < 1.0 ? 1.0 - distance : 0.0);
      sum += weights.back();
    }
    auto& tap = taps[static_cast<std::size_t>(i)];
    tap.first = static_cast<std::size_t>(first);
    for (const double weight : weights) {
      tap.weights.push_back(
          static_cast<std::int32_t>(std::floor(weight / sum * double{1 << kFilterBits} + 0.5)));
    }
  }
  return taps;
}

std::uint8_t filtered(const Taps& taps, const std::uint8_t* line, std::size_t stride) {
  std::int32_t sum = 1 << (kFilterBits - 1);
  for (std::size_t i = 0; i < taps.weights.size(); ++i) {
    sum += line[(taps.first + i) * stride] * taps.weights[i];
  }
  return static_cast<std::uint8_t>(std::clamp(sum >> kFilterBits, 0, 255));
}

}  // namespace

ImageHeader read_image_header(const std::string& path) {
  return with_decoder(contents_of(path), [](const auto& decoder) { return decoder.header(); });
}

Image read_image(const std::string& path, std::int64_t channels) {
  const auto bytes = contents_of(path);
  return with_channels(with_decoder(bytes, [](auto&& decoder) { return decoder.pixels(); }),
                       channels);
}

Image resized(const Image& image, std::int64_t height, std::int64_t width) {
  const auto channels = static_cast<std::size_t>(image.channels);
  auto lines = image;
  if (width != image.width) {
    lines = {image.height, width, image.channels, {}};
    const auto taps = taps_of(image.width, width);
    const auto row = static_cast<std::size_t>(image.width) * channels;
    for (std::int64_t y = 0; y < image.height; ++y) {
      const auto* line = &image.pixels[static_cast<std::size_t>(y) * row];
      for (const auto& tap : taps) {
        for (std::size_t c = 0; c < channels; ++c) {
          lines.pixels.push_back(filtered(tap, line + c, channels));
        }
      }
    }
  }
  if (height == image.height) return lines;
  Image result{height, width, image.channels, {}};
  const auto row = static_cast<std::size_t>(width) * channels;
  for (const auto& tap : taps_of(image.height, height)) {
    for (std::size_t x = 0; x < row; ++x) {
      result.pixels.push_back(filtered(tap, &lines.pixels[x], row));
    }
  }
  return result;
}

}  // namespace lockstep::data::detail
