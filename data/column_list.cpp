#include "data/column_list.hpp"

#include <hdf5.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/filters.hpp"
#include "data/hdf5_types.hpp"

namespace lockstep::data::detail {
namespace {

/// Groups may be linked in a ring; a dataset file has no use for more.
constexpr int kDeepestGroup = 8;
constexpr std::size_t kMostObjects = 10'000;
/// All sizes stay far from overflow below this.
constexpr std::int64_t kMostBytes = std::int64_t{1} << 60;

/// Deflate makes no more than 1032 bytes of one (zlib's technical details); other filters of
/// numbers make less. What is claimed beyond that, and beyond a generous sparse dataset, is damage.
constexpr std::uint64_t kMostInflation = 1100;
constexpr std::uint64_t kMostSparseBytes = std::uint64_t{256} << 20;

const char* const kRemakeAdvice = "the file is damaged; copy or make it again";

std::string filter_name(H5Z_filter_t filter, const std::string& stored) {
  switch (filter) {
    case H5Z_FILTER_DEFLATE: return "deflate";
    case H5Z_FILTER_SHUFFLE: return "shuffle";
    case H5Z_FILTER_FLETCHER32: return "fletcher32";
    case H5Z_FILTER_SZIP: return "szip";
    case H5Z_FILTER_NBIT: return "nbit";
    case H5Z_FILTER_SCALEOFFSET: return "scaleoffset";
    case kFilterLzf: return "lzf";
    case kFilterBlosc: return "blosc";
    case kFilterLz4: return "lz4";
    case kFilterZstd: return "zstd";
    default: return stored.empty() ? "filter " + std::to_string(filter) : stored;
  }
}

/// Lists the datasets below one group.
class Lister {
 public:
  Lister(Hdf5Id file, std::string path, std::uint64_t file_bytes)
      : path_(std::move(path)), file_bytes_(file_bytes) {
    H5O_info_t root{};
    read_checked(H5Oget_info2(file, &root, H5O_INFO_BASIC), "H5Oget_info2", what(""),
                 kRemakeAdvice);
    file_number_ = root.fileno;
  }

  std::vector<ColumnInfo> take_columns() { return std::move(columns_); }

  void list(Hdf5Id group, const std::string& prefix, int depth) {
    H5G_info_t info{};
    read_checked(H5Gget_info(group, &info), "H5Gget_info", what(prefix), kRemakeAdvice);
    for (hsize_t i = 0; i < info.nlinks; ++i) {
      if (++objects_ > kMostObjects) {
        throw base::DataError(what(prefix) + " (more than " + std::to_string(kMostObjects) +
                              " objects in the file); store samples as rows of one dataset");
      }
      visit(group, prefix, name_of_link(group, prefix, i), depth);
    }
  }

 private:
  std::string what(const std::string& name) const {
    return base::quote("/" + name) + " in " + base::quote(path_) + " cannot be listed";
  }

  std::string name_of_link(Hdf5Id group, const std::string& prefix, hsize_t index) const {
    const auto get = [&](char* text, std::size_t size) {
      return read_checked(H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, index, text,
                                             size, H5P_DEFAULT),
                          "H5Lget_name_by_idx", what(prefix), kRemakeAdvice);
    };
    std::string name(static_cast<std::size_t>(get(nullptr, 0)), '\0');
    get(name.data(), name.size() + 1);
    return name;
  }

  void visit(Hdf5Id group, const std::string& prefix, const std::string& name, int depth) {
    const auto full_name = prefix + name;
    H5L_info_t link{};
    read_checked(H5Lget_info(group, name.c_str(), &link, H5P_DEFAULT), "H5Lget_info",
                 what(full_name), kRemakeAdvice);
    if (link.type != H5L_TYPE_HARD && H5Oexists_by_name(group, name.c_str(), H5P_DEFAULT) <= 0) {
      H5Eclear2(H5E_DEFAULT);
      if (link.type == H5L_TYPE_EXTERNAL)
        columns_.push_back(dangling(group, name, full_name, link));
      return;
    }
    const Hdf5Handle object(
        read_checked(open_object(group, name.c_str()), "H5Oopen", what(full_name), kRemakeAdvice),
        H5Oclose);
    switch (H5Iget_type(object.id())) {
      case H5I_GROUP:
        if (depth < kDeepestGroup) list(object.id(), full_name + "/", depth + 1);
        break;
      case H5I_DATASET: describe(object.id(), full_name); break;
      default: break;
    }
  }

  /// A link to a file that is not there: listed, so that whoever wants it learns why.
  ColumnInfo dangling(Hdf5Id group, const std::string& name, const std::string& full_name,
                      const H5L_info_t& link) const {
    std::vector<char> value(link.u.val_size + 1, '\0');
    const char* file = "?";
    const char* object = nullptr;
    if (H5Lget_val(group, name.c_str(), value.data(), link.u.val_size, H5P_DEFAULT) < 0 ||
        H5Lunpack_elink_val(value.data(), link.u.val_size, nullptr, &file, &object) < 0) {
      H5Eclear2(H5E_DEFAULT);
    }
    ColumnInfo info;
    info.name = info.dataset = full_name;
    info.type_name = "missing external file " + base::quote(file);
    info.in_other_file = true;
    return info;
  }

  void describe(Hdf5Id dataset, const std::string& name) {
    ColumnInfo info;
    info.dataset = name;
    const Hdf5Handle type(
        read_checked(H5Dget_type(dataset), "H5Dget_type", what(name), kRemakeAdvice), H5Tclose);
    const auto element_bytes = std::max<std::uint64_t>(1, H5Tget_size(type.id()));
    const auto extent = shape_of(dataset, name, element_bytes);
    H5O_info_t object{};
    read_checked(H5Oget_info2(dataset, &object, H5O_INFO_BASIC), "H5Oget_info2", what(name),
                 kRemakeAdvice);
    info.in_other_file = object.fileno != file_number_;
    const Hdf5Handle plist(read_checked(H5Dget_create_plist(dataset), "H5Dget_create_plist",
                                        what(name), kRemakeAdvice),
                           H5Pclose);
    info.shape = extent;
    const bool chunked = H5Pget_layout(plist.id()) == H5D_CHUNKED;
    if (!chunked) info.stored_bytes = H5Dget_storage_size(dataset);
    check_claim(plist.id(), info, element_bytes);
    if (chunked) {
      std::vector<hsize_t> chunk(extent.size());
      read_checked(H5Pget_chunk(plist.id(), static_cast<int>(chunk.size()), chunk.data()),
                   "H5Pget_chunk", what(name), kRemakeAdvice);
      info.chunk.assign(chunk.begin(), chunk.end());
    }
    const auto filters = H5Pget_nfilters(plist.id());
    for (int i = 0; i < filters; ++i) {
      std::array<char, 64> text{};
      std::size_t parameters = 0;
      unsigned flags = 0;
      const auto filter = H5Pget_filter2(plist.id(), static_cast<unsigned>(i), &flags, &parameters,
                                         nullptr, text.size() - 1, text.data(), nullptr);
      info.filters.push_back(filter_name(filter, text.data()));
    }
    for (const auto& element : elements_of(type.id())) {
      info.name = name;
      for (const auto& member : element.members) info.name += "." + member;
      info.members = element.members;
      info.dtype = element.dtype;
      info.type_name = element.name;
      info.shape = extent;
      if (!extent.empty()) {
        info.shape.insert(info.shape.end(), element.lengths.begin(), element.lengths.end());
      }
      columns_.push_back(info);
    }
  }

  std::vector<std::int64_t> shape_of(Hdf5Id dataset, const std::string& name,
                                     std::uint64_t element_bytes) const {
    const Hdf5Handle space(
        read_checked(H5Dget_space(dataset), "H5Dget_space", what(name), kRemakeAdvice), H5Sclose);
    if (H5Sget_simple_extent_type(space.id()) != H5S_SIMPLE) return {};
    const auto rank = read_checked(H5Sget_simple_extent_ndims(space.id()),
                                   "H5Sget_simple_extent_ndims", what(name), kRemakeAdvice);
    std::vector<hsize_t> extent(static_cast<std::size_t>(rank));
    read_checked(H5Sget_simple_extent_dims(space.id(), extent.data(), nullptr),
                 "H5Sget_simple_extent_dims", what(name), kRemakeAdvice);
    hsize_t bytes = element_bytes;
    for (const auto length : extent) {
      if (length != 0 && bytes > static_cast<hsize_t>(kMostBytes) / length) {
        throw base::DataError(what(name) + " (its shape is larger than any file); " +
                              kRemakeAdvice);
      }
      bytes *= length == 0 ? 1 : length;
    }
    return {extent.begin(), extent.end()};
  }

  /// Readers make room for what a header claims, so a damaged one must not get that far.
  void check_claim(Hdf5Id plist, const ColumnInfo& info, std::uint64_t element_bytes) const {
    auto claimed = element_bytes;
    for (const auto length : info.shape) claimed *= static_cast<std::uint64_t>(length);
    const auto layout = H5Pget_layout(plist);
    const bool elsewhere = layout == H5D_VIRTUAL || H5Pget_external_count(plist) > 0;
    if (elsewhere || info.in_other_file) return;
    auto possible = file_bytes_;
    if (layout == H5D_COMPACT) {
      possible = info.stored_bytes;
    } else if (layout == H5D_CHUNKED || info.stored_bytes == 0) {
      possible = std::max(kMostSparseBytes, file_bytes_ * kMostInflation);
    }
    if (claimed > possible) {
      throw base::DataError("dataset " + base::quote(info.dataset) + " of " + base::quote(path_) +
                            " claims " + base::format_bytes(claimed) + " in a file of " +
                            base::format_bytes(file_bytes_) +
                            " (the file was cut short, or its header is damaged); copy or make it "
                            "again");
    }
  }

  std::string path_;
  std::uint64_t file_bytes_;
  unsigned long file_number_ = 0;  ///< as HDF5 counts open files
  std::vector<ColumnInfo> columns_;
  std::size_t objects_ = 0;
};

}  // namespace

std::vector<ColumnInfo> list_columns(Hdf5Id file, const std::string& path,
                                     std::uint64_t file_bytes) {
  Lister lister(file, path, file_bytes);
  lister.list(file, "", 0);
  return lister.take_columns();
}

}  // namespace lockstep::data::detail
