#include "data/import/images.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/import/bad_inputs.hpp"
#include "data/import/image_file.hpp"
#include "data/import/import_writer.hpp"

namespace lockstep::data {
namespace {

namespace fs = std::filesystem;

using detail::BadInputs;
using detail::Image;
using detail::ImageHeader;
using detail::ImportWriter;

constexpr std::int64_t kMostLength = 1 << 14;

struct ImageFile {
  std::string path;  ///< below the folder: `cats/1.png`
  std::int64_t label = 0;
};

bool has_image_suffix(const fs::path& path) {
  auto suffix = path.extension().string();
  std::ranges::transform(suffix, suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  return suffix == ".png" || suffix == ".jpg" || suffix == ".jpeg";
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

class Folder {
 public:
  explicit Folder(const std::string& path) : path_(path) {
    try {
      list();
    } catch (const fs::filesystem_error& error) {
      throw base::DataError("folder " + base::quote(path) + " cannot be listed (" +
                            error.code().message() +
                            "); give a folder with a folder for each "
                            "class");
    }
    if (classes_.empty()) {
      throw base::DataError("folder " + base::quote(path) +
                            " has no folders in it (each is a class); put the images of each class "
                            "into a folder of its own");
    }
  }

  const std::vector<std::string>& classes() const { return classes_; }
  const std::vector<ImageFile>& files() const { return files_; }
  std::string path_of(const ImageFile& file) const {
    return (fs::path(path_) / file.path).string();
  }
  /// Images beside the classes' folders, which belong to none.
  std::int64_t strays() const { return strays_; }

 private:
  void list() {
    for (const auto& entry : fs::directory_iterator(path_)) {
      if (is_hidden(entry.path())) continue;
      if (entry.is_directory()) classes_.push_back(entry.path().filename().string());
      if (entry.is_regular_file() && has_image_suffix(entry.path())) ++strays_;
    }
    std::ranges::sort(classes_);
    for (std::size_t label = 0; label < classes_.size(); ++label) list_class(label);
  }

  void list_class(std::size_t label) {
    const auto begin = files_.size();
    const auto root = fs::path(path_) / classes_[label];
    for (auto entry = fs::recursive_directory_iterator(root);
         entry != fs::recursive_directory_iterator(); ++entry) {
      if (is_hidden(entry->path())) {
        entry.disable_recursion_pending();
      } else if (entry->is_regular_file() && has_image_suffix(entry->path())) {
        files_.push_back(
            {entry->path().lexically_relative(path_).string(), static_cast<std::int64_t>(label)});
      }
    }
    if (files_.size() == begin) {
      throw base::DataError("class folder " + base::quote(root.string()) +
                            " has no images (files ending in .png, .jpg or .jpeg); remove it, or "
                            "put some in");
    }
    std::sort(files_.begin() + static_cast<std::ptrdiff_t>(begin), files_.end(),
              [](const auto& a, const auto& b) { return a.path < b.path; });
  }

  std::string path_;
  std::vector<std::string> classes_;
  std::vector<ImageFile> files_;
  std::int64_t strays_ = 0;
};

std::string size_text(const ImageSize& size) {
  return std::to_string(size.height) + " x " + std::to_string(size.width);
}

void check_options(const ImportImagesOptions& options) {
  if (!options.size) return;
  for (const auto length : {options.size->height, options.size->width}) {
    if (length >= 1 && length <= kMostLength) continue;
    throw base::ConfigError("size " + size_text(*options.size) +
                            " is impossible; give a height and a width from 1 to " +
                            std::to_string(kMostLength) + ", for example --size 32x32");
  }
}

class Import {
 public:
  Import(const Folder& folder, ImportWriter& writer, const ImportImagesOptions& options)
      : folder_(folder),
        writer_(writer),
        options_(options),
        bad_({.one = "image",
              .many = "images",
              .rule = "each must be whole",
              .option = "--skip-bad-files"}) {}

  ImportResult run() {
    look_at_headers();
    if (options_.bad_files == BadInput::kRefuse) bad_.refuse();
    if (good_.empty()) {
      throw base::DataError(
          "no image can be used (a dataset has at least one row); give another "
          "folder. " +
          bad_.note());
    }
    const bool gray =
        options_.color == ImageColor::kGray || (options_.color == ImageColor::kDetect && all_gray_);
    write(gray ? 1 : 3);
    writer_.set_attribute("classes", folder_.classes());
    if (options_.bad_files == BadInput::kSkip) {
      writer_.set_attribute("skipped", std::to_string(bad_.count()));
    }
    auto result = writer_.commit();
    report(gray, result);
    return result;
  }

 private:
  /// Finds the common size and color, and what cannot be used: the file's shape depends on it.
  void look_at_headers() {
    const auto& files = folder_.files();
    for (std::size_t i = 0; i < files.size(); ++i) {
      writer_.progress("looking at images", i, files.size());
      ImageHeader header;
      try {
        const auto path = folder_.path_of(files[i]);
        header = detail::read_image_header(path);
        // What follows a header is known to be good only once it is decoded.
        if (options_.bad_files == BadInput::kSkip) detail::read_image(path, 1);
      } catch (const base::DataError& error) {
        bad_.add(base::quote(files[i].path) + " " + error.what());
        continue;
      }
      accept(files[i], header);
    }
  }

  void accept(const ImageFile& file, const ImageHeader& header) {
    if (good_.empty()) {
      first_ = &file;
      size_ = {header.height, header.width};
    } else if (!options_.size && (header.height != size_.height || header.width != size_.width)) {
      throw base::DataError("image " + base::quote(file.path) + " is " +
                            size_text({header.height, header.width}) + " and " +
                            base::quote(first_->path) + " is " + size_text(size_) +
                            " (the rows of a dataset have one shape); give --size HxW to resize "
                            "all");
    }
    good_.push_back(&file);
    all_gray_ = all_gray_ && header.gray;
    transparent_ += header.transparent ? 1 : 0;
  }

  void write(std::int64_t channels) {
    const auto rows = static_cast<std::int64_t>(good_.size());
    const auto size = options_.size.value_or(size_);
    auto& x = writer_.add_column("x", DType::kU8, {rows, channels, size.height, size.width});
    auto& y = writer_.add_column("y", DType::kI64, {rows});
    for (std::int64_t row = 0; row < rows; ++row) {
      writer_.progress("writing images", static_cast<std::uint64_t>(row),
                       static_cast<std::uint64_t>(rows));
      const auto& file = *good_[static_cast<std::size_t>(row)];
      const auto image = decoded(file, channels, size);
      const auto planes = x.next_row_as<std::uint8_t>();
      const auto pixels = planes.size() / static_cast<std::size_t>(channels);
      for (std::size_t i = 0; i < image.pixels.size(); ++i) {
        planes[i % static_cast<std::size_t>(channels) * pixels +
               i / static_cast<std::size_t>(channels)] = image.pixels[i];
      }
      y.next_row_as<std::int64_t>()[0] = file.label;
    }
  }

  Image decoded(const ImageFile& file, std::int64_t channels, const ImageSize& size) const {
    const auto refuse = [&](const std::string& problem, const std::string& advice) {
      throw base::DataError("image " + base::quote(folder_.path_of(file)) + " " + problem + "; " +
                            advice);
    };
    Image image;
    try {
      image = detail::read_image(folder_.path_of(file), channels);
    } catch (const base::DataError& error) {
      refuse(error.what(), "mend it, or leave such images out with --skip-bad-files");
    }
    if (options_.size) return detail::resized(image, size.height, size.width);
    if (image.height != size.height || image.width != size.width) {
      refuse("changed while the folder was read", "import it again when nothing writes there");
    }
    return image;
  }

  void report(bool gray, ImportResult& result) const {
    const auto& classes = folder_.classes();
    std::vector<std::uint64_t> counts(classes.size(), 0);
    for (const auto* file : good_) ++counts[static_cast<std::size_t>(file->label)];
    for (std::size_t i = 0; i < classes.size(); ++i) {
      result.columns.push_back(
          {classes[i], base::format_count(counts[i]) + (counts[i] == 1 ? " image" : " images"),
           "class " + std::to_string(i)});
    }
    if (transparent_ > 0) {
      result.notes.push_back(
          base::format_count(transparent_) + (transparent_ == 1 ? " image is" : " images are") +
          " transparent and " + (transparent_ == 1 ? "was" : "were") + " laid on black");
    }
    if (gray && !all_gray_) result.notes.emplace_back("images in color were made gray");
    if (folder_.strays() > 0) {
      result.notes.push_back(base::format_count(static_cast<std::uint64_t>(folder_.strays())) +
                             (folder_.strays() == 1 ? " image lies in no class's folder and was"
                                                    : " images lie in no class's folder and were") +
                             " left out");
    }
    if (bad_.count() > 0) result.notes.push_back(bad_.note());
  }

  const Folder& folder_;
  ImportWriter& writer_;
  const ImportImagesOptions& options_;
  BadInputs bad_;
  std::vector<const ImageFile*> good_;
  const ImageFile* first_ = nullptr;
  ImageSize size_{};
  bool all_gray_ = true;
  std::uint64_t transparent_ = 0;
};

}  // namespace

ImportResult import_images(const std::string& folder, const ImportOutput& output,
                           const ImportImagesOptions& options) {
  check_options(options);
  ImportWriter writer(output, "images", std::array{folder});
  const Folder listed(folder);
  return Import(listed, writer, options).run();
}

}  // namespace lockstep::data
