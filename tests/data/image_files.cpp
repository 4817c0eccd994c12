#include "image_files.hpp"

#include <png.h>
#include <turbojpeg.h>

#include <array>
#include <span>
#include <stdexcept>

namespace lockstep::tests {

std::vector<std::byte> png_bytes(int height, int width, int channels,
                                 const std::vector<std::uint8_t>& pixels) {
  static constexpr std::array<png_uint_32, 5> kFormats{0, PNG_FORMAT_GRAY, PNG_FORMAT_GA,
                                                       PNG_FORMAT_RGB, PNG_FORMAT_RGBA};
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.height = static_cast<png_uint_32>(height);
  image.width = static_cast<png_uint_32>(width);
  image.format = kFormats.at(static_cast<std::size_t>(channels));
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::vector<std::byte> bytes(size);
  if (png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels.data(), 0, nullptr) == 0) {
    throw std::runtime_error("a test PNG could not be made");
  }
  bytes.resize(size);
  return bytes;
}

std::vector<std::byte> jpeg_bytes(int height, int width, int channels,
                                  const std::vector<std::uint8_t>& pixels) {
  auto* const encoder = tjInitCompress();
  unsigned char* packed = nullptr;
  unsigned long size = 0;
  const int result =
      tjCompress2(encoder, pixels.data(), width, 0, height, channels == 1 ? TJPF_GRAY : TJPF_RGB,
                  &packed, &size, channels == 1 ? TJSAMP_GRAY : TJSAMP_444, 100, 0);
  tjDestroy(encoder);
  if (result != 0) throw std::runtime_error("a test JPEG could not be made");
  const auto packed_bytes = std::as_bytes(std::span(packed, size));
  std::vector<std::byte> bytes(packed_bytes.begin(), packed_bytes.end());
  tjFree(packed);
  return bytes;
}

}  // namespace lockstep::tests
