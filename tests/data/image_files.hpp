#pragma once
// PNG and JPEG files for tests. One thread.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lockstep::tests {

/// `channels`: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA. `pixels`: [height, width, channels].
std::vector<std::byte> png_bytes(int height, int width, int channels,
                                 const std::vector<std::uint8_t>& pixels);

/// `channels`: 1 gray or 3 RGB.
std::vector<std::byte> jpeg_bytes(int height, int width, int channels,
                                  const std::vector<std::uint8_t>& pixels);

}  // namespace lockstep::tests
