#pragma once
// One PNG or JPEG file: what its header says, and its pixels. Internal to data/import; the
// decoders' headers stay in the source. Pure functions of the file; any thread.

#include <cstdint>
#include <string>
#include <vector>

namespace lockstep::data::detail {

struct ImageHeader {
  std::int64_t height = 0;
  std::int64_t width = 0;
  bool gray = false;
  bool transparent = false;
};

struct Image {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;         ///< 1 or 3
  std::vector<std::uint8_t> pixels;  ///< [height, width, channels]
};

/// Both throw DataError when the file cannot be read, is neither PNG nor JPEG, or is damaged; the
/// text is the problem alone, without the file's name.
ImageHeader read_image_header(const std::string& path);
/// With 1 channel (ITU-R 601 luma) or 3, laid on black where it is transparent.
Image read_image(const std::string& path, std::int64_t channels);

/// `image` at another size: a triangle filter as wide as a pixel of the smaller image, along rows,
/// then along columns, in fixed point. Bit for bit what Pillow 10's `resize(..., BILINEAR)` gives
/// (src/libImaging/Resample.c; Pillow 13's differs by at most 1).
Image resized(const Image& image, std::int64_t height, std::int64_t width);

}  // namespace lockstep::data::detail
