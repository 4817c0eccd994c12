#pragma once
// Import of a folder of PNG and JPEG images, a folder a class. Local; any thread.

#include <cstdint>
#include <optional>
#include <string>

#include "data/import/import.hpp"

namespace lockstep::data {

enum class ImageColor {
  kDetect,  ///< gray when every image is gray, else RGB
  kGray,    ///< ITU-R 601 luma of what is not gray
  kRgb,
};

struct ImageSize {
  std::int64_t height = 0;
  std::int64_t width = 0;
};

struct ImportImagesOptions {
  /// What every image is resized to (antialiased linear interpolation, as Pillow's BILINEAR);
  /// without it all must have one size.
  std::optional<ImageSize> size{};
  ImageColor color = ImageColor::kDetect;
  BadInput bad_files = BadInput::kRefuse;
};

/// Writes the images below the folders of `folder` as `x` u8 [rows, channels, height, width] and
/// the number of their folder, in sorted order, as `y` i64 [rows]; the folders' names are the
/// attribute `classes`. Files end in .png, .jpg or .jpeg and are taken in the order of their paths.
/// Transparent images are laid on black. Throws DataError naming the image that is damaged or of
/// another size.
ImportResult import_images(const std::string& folder, const ImportOutput& output,
                           const ImportImagesOptions& options = {});

}  // namespace lockstep::data
