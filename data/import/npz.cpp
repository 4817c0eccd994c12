#include "data/import/npz.hpp"

#include <zip.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/import/npy_array.hpp"

namespace lockstep::data {
namespace {

using detail::NpyArray;

constexpr std::string_view kSuffix = ".npy";
/// Deflate makes at most 1032 bytes of one (zlib's technical details).
constexpr std::uint64_t kMostInflation = 1032;

/// Names that arrays of inputs and targets usually have.
constexpr std::array<std::array<const char*, 2>, 13> kUsualPairs = {
    {{"x", "y"},
     {"X", "Y"},
     {"X", "y"},
     {"x_train", "y_train"},
     {"X_train", "y_train"},
     {"X_train", "Y_train"},
     {"inputs", "targets"},
     {"images", "labels"},
     {"train_images", "train_labels"},
     {"features", "labels"},
     {"data", "target"},
     {"data", "labels"},
     {"arr_0", "arr_1"}}};

class Archive {
 public:
  explicit Archive(const std::string& path) : path_(path) {
    // Says plainly that a file is missing or no file at all; libzip does not.
    const detail::FileDescriptor readable(path);
    int code = 0;
    zip_.reset(zip_open(path.c_str(), ZIP_RDONLY, &code));
    if (!zip_) {
      zip_error_t error;
      zip_error_init_with_code(&error, code);
      const std::string reason = zip_error_strerror(&error);
      zip_error_fini(&error);
      throw base::DataError("archive " + base::quote(path) + " cannot be read (" + reason +
                            "); give a file that numpy.savez wrote, or fetch it again");
    }
    const auto entries = zip_get_num_entries(zip_.get(), 0);
    for (zip_int64_t i = 0; i < entries; ++i) {
      const char* name = zip_get_name(zip_.get(), static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW);
      if (name == nullptr || !std::string_view(name).ends_with(kSuffix)) continue;
      names_.emplace_back(name);
      names_.back().resize(names_.back().size() - kSuffix.size());
    }
  }

  const std::string& path() const { return path_; }
  const std::vector<std::string>& names() const { return names_; }
  bool has(std::string_view name) const { return std::ranges::find(names_, name) != names_.end(); }

  /// Throws ConfigError with the nearest name when there is no such array.
  NpyArray open(const std::string& name) const;

 private:
  struct Discard {
    void operator()(zip_t* zip) const { zip_discard(zip); }
  };
  std::string path_;
  std::unique_ptr<zip_t, Discard> zip_;
  std::vector<std::string> names_;
};

class Member final : public detail::NpyBytes {
 public:
  Member(zip_t* zip, const std::string& name, std::string what) : what_(std::move(what)) {
    zip_stat_t facts;
    zip_stat_init(&facts);
    if (zip_stat(zip, name.c_str(), ZIP_FL_ENC_RAW, &facts) == 0) {
      file_.reset(zip_fopen(zip, name.c_str(), ZIP_FL_ENC_RAW));
    }
    constexpr auto kNeeded = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
    if (!file_ || (facts.valid & kNeeded) != kNeeded) refuse(zip_strerror(zip));
    size_ = facts.size;
    if (size_ / kMostInflation > facts.comp_size) refuse("it claims more than it can hold");
  }

  std::uint64_t size() const override { return size_; }
  void read(std::span<std::byte> bytes) override {
    while (!bytes.empty()) {
      const auto got = zip_fread(file_.get(), bytes.data(), bytes.size());
      if (got < 0) refuse(zip_file_strerror(file_.get()));
      if (got == 0) refuse("it ends before its size");
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
  }
  /// libzip compares the checksum when it meets the end.
  void check_end() override {
    std::byte extra{};
    const auto got = zip_fread(file_.get(), &extra, 1);
    if (got < 0) refuse(zip_file_strerror(file_.get()));
    if (got > 0) refuse("it goes on after its size");
  }

 private:
  [[noreturn]] void refuse(const std::string& reason) const {
    throw base::DataError(what_ + " cannot be unpacked (" + reason + "); fetch it again");
  }

  struct Close {
    void operator()(zip_file_t* file) const { zip_fclose(file); }
  };
  std::string what_;
  std::unique_ptr<zip_file_t, Close> file_;
  std::uint64_t size_ = 0;
};

NpyArray Archive::open(const std::string& name) const {
  if (!has(name)) {
    const auto nearest = base::nearest_name(name, names_);
    throw base::ConfigError(
        "array " + base::quote(name) + " is not in " + base::quote(path_) + " (it has " +
        base::joined(names_) + "); " +
        (nearest ? "did you mean " + base::quote(*nearest) + "?" : "name one of them"));
  }
  const auto what = "array " + base::quote(name) + " of " + base::quote(path_);
  return {what, std::make_unique<Member>(zip_.get(), name + std::string(kSuffix), what)};
}

/// The names of inputs and targets; no targets are an empty name.
std::array<std::string, 2> choose(const Archive& archive, const ImportNpzOptions& options) {
  if (!options.inputs.empty()) return {options.inputs, options.targets};
  if (!options.targets.empty()) {
    throw base::ConfigError("targets " + base::quote(options.targets) +
                            " are named without the inputs that they belong to; give --inputs "
                            "too");
  }
  for (const auto& [inputs, targets] : kUsualPairs) {
    if (archive.has(inputs) && archive.has(targets)) return {inputs, targets};
  }
  throw base::DataError("archive " + base::quote(archive.path()) +
                        " has no arrays with the usual names (it has " +
                        (archive.names().empty() ? "none at all" : base::joined(archive.names())) +
                        "); name two with --inputs and --targets");
}

}  // namespace

ImportResult import_npz(const std::string& path, const ImportOutput& output,
                        const ImportNpzOptions& options) {
  detail::ImportWriter writer(output, "npz", std::array{path});
  const Archive archive(path);
  const auto names = choose(archive, options);
  auto x = archive.open(names[0]);
  std::optional<NpyArray> y;
  if (!names[1].empty()) y.emplace(archive.open(names[1]));
  auto result = detail::import_arrays(x, y ? &*y : nullptr, writer, output.path, names);
  for (const auto& name : archive.names()) {
    if (name != names[0] && name != names[1]) result.columns.push_back({name, "", "left out"});
  }
  return result;
}

}  // namespace lockstep::data
