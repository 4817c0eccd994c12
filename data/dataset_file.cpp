#include "data/dataset_file.hpp"

#include <hdf5.h>

#include <array>
#include <map>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/column_reader.hpp"
#include "data/file_descriptor.hpp"
#include "data/hdf5_library.hpp"
#include "data/hdf5_types.hpp"

namespace lockstep::data {
namespace {

using detail::Hdf5Handle;
using detail::Hdf5Id;
using detail::Hdf5Lock;
using detail::read_checked;

/// Groups may be linked in a ring; a dataset file has no use for more.
constexpr int kDeepestGroup = 8;
constexpr std::size_t kMostObjects = 10'000;
/// All sizes stay far from overflow below this.
constexpr std::int64_t kMostBytes = std::int64_t{1} << 60;

const char* const kRemakeAdvice = "the file is damaged; copy or make it again";

/// The eight bytes that every HDF5 file has at 0, 512, 1024, 2048, ... (HDF5 File Format
/// Specification 3.0, section II.A).
constexpr std::array<unsigned char, 8> kSignature = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};

bool has_signature(const detail::FileDescriptor& file) {
  for (std::uint64_t offset = 0; offset + kSignature.size() <= file.size();
       offset = offset == 0 ? 512 : 2 * offset) {
    std::array<unsigned char, 8> bytes{};
    file.read_at(offset, std::as_writable_bytes(std::span(bytes)));
    if (bytes == kSignature) return true;
  }
  return false;
}

Hdf5Handle open_hdf5(const std::string& path, const detail::FileDescriptor& file) {
  if (!has_signature(file)) {
    throw base::DataError("data file " + base::quote(path) + " is not HDF5 (" +
                          base::format_bytes(file.size()) +
                          " without an HDF5 signature); convert it, for images with 'lockstep data "
                          "import idx'");
  }
  const Hdf5Lock lock;
  const Hdf5Handle access(read_checked(H5Pcreate(H5P_FILE_ACCESS), "H5Pcreate",
                                       "HDF5 cannot be used", "check the HDF5 library"),
                          H5Pclose);
  // Network file systems without locks must not stop a reader.
  H5Pset_file_locking(access.id(), false, true);
  // What HDF5 leaves open after an error inside a damaged file must not keep the file alive.
  H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG);
  const auto id = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id());
  if (id < 0) {
    const auto reason = detail::hdf5_reason();
    const bool truncated = reason.find("truncated") != std::string::npos;
    throw base::DataError(
        "data file " + base::quote(path) + (truncated ? " was cut short" : " cannot be opened") +
        " (H5Fopen: " + reason + "); " +
        (truncated ? "copy it again, or make it again if its writer was stopped" : kRemakeAdvice));
  }
  return {id, H5Fclose};
}

std::string filter_name(H5Z_filter_t filter, const std::string& stored) {
  switch (filter) {
    case H5Z_FILTER_DEFLATE: return "deflate";
    case H5Z_FILTER_SHUFFLE: return "shuffle";
    case H5Z_FILTER_FLETCHER32: return "fletcher32";
    case H5Z_FILTER_SZIP: return "szip";
    case H5Z_FILTER_NBIT: return "nbit";
    case H5Z_FILTER_SCALEOFFSET: return "scaleoffset";
    default: return stored.empty() ? "filter " + std::to_string(filter) : stored;
  }
}

/// Lists the datasets below one group.
class Lister {
 public:
  Lister(std::string path, std::vector<ColumnInfo>& columns)
      : path_(std::move(path)), columns_(columns) {}

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
    // Links to other files are not followed, nor links that lead nowhere.
    if (link.type != H5L_TYPE_HARD &&
        (link.type != H5L_TYPE_SOFT || H5Oexists_by_name(group, name.c_str(), H5P_DEFAULT) <= 0)) {
      return;
    }
    const Hdf5Handle object(read_checked(H5Oopen(group, name.c_str(), H5P_DEFAULT), "H5Oopen",
                                         what(full_name), kRemakeAdvice),
                            H5Oclose);
    switch (H5Iget_type(object.id())) {
      case H5I_GROUP:
        if (depth < kDeepestGroup) list(object.id(), full_name + "/", depth + 1);
        break;
      case H5I_DATASET: columns_.push_back(describe(object.id(), full_name)); break;
      default: break;
    }
  }

  ColumnInfo describe(Hdf5Id dataset, const std::string& name) const {
    ColumnInfo info;
    info.name = name;
    const Hdf5Handle type(
        read_checked(H5Dget_type(dataset), "H5Dget_type", what(name), kRemakeAdvice), H5Tclose);
    info.dtype = detail::dtype_of(type.id());
    info.type_name = detail::type_name_of(type.id());
    info.shape = shape_of(dataset, name, H5Tget_size(type.id()));
    info.stored_bytes = H5Dget_storage_size(dataset);
    const Hdf5Handle plist(read_checked(H5Dget_create_plist(dataset), "H5Dget_create_plist",
                                        what(name), kRemakeAdvice),
                           H5Pclose);
    if (H5Pget_layout(plist.id()) == H5D_CHUNKED) {
      std::vector<hsize_t> chunk(info.shape.size());
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
    return info;
  }

  std::vector<std::int64_t> shape_of(Hdf5Id dataset, const std::string& name,
                                     std::size_t element_bytes) const {
    const Hdf5Handle space(
        read_checked(H5Dget_space(dataset), "H5Dget_space", what(name), kRemakeAdvice), H5Sclose);
    if (H5Sget_simple_extent_type(space.id()) != H5S_SIMPLE) return {};
    const auto rank = read_checked(H5Sget_simple_extent_ndims(space.id()),
                                   "H5Sget_simple_extent_ndims", what(name), kRemakeAdvice);
    std::vector<hsize_t> extent(static_cast<std::size_t>(rank));
    read_checked(H5Sget_simple_extent_dims(space.id(), extent.data(), nullptr),
                 "H5Sget_simple_extent_dims", what(name), kRemakeAdvice);
    auto bytes = static_cast<hsize_t>(element_bytes == 0 ? 1 : element_bytes);
    for (const auto length : extent) {
      if (length != 0 && bytes > static_cast<hsize_t>(kMostBytes) / length) {
        throw base::DataError(what(name) + " (its shape is larger than any file); " +
                              kRemakeAdvice);
      }
      bytes *= length == 0 ? 1 : length;
    }
    return {extent.begin(), extent.end()};
  }

  std::string path_;
  std::vector<ColumnInfo>& columns_;
  std::size_t objects_ = 0;
};

std::string listed(const std::vector<ColumnInfo>& columns) {
  std::vector<std::string> names;
  for (const auto& column : columns) names.push_back(base::quote(column.name));
  constexpr std::size_t kMostNames = 12;
  if (names.size() > kMostNames) {
    names.resize(kMostNames);
    names.emplace_back("...");
  }
  return names.empty() ? "none" : base::joined(names);
}

}  // namespace

std::int64_t ColumnInfo::row_elements() const {
  std::int64_t elements = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) elements *= shape[i];
  return elements;
}

std::size_t ColumnInfo::row_bytes() const {
  return static_cast<std::size_t>(row_elements()) * size_of(dtype);
}

struct DatasetFile::State {
  State(const std::string& file_path, DatasetFileOptions file_options)
      : path(file_path),
        options(file_options),
        descriptor(path),
        hdf5(open_hdf5(path, descriptor)) {
    const Hdf5Lock lock;
    Lister(path, columns).list(hdf5.id(), "", 0);
  }

  detail::ColumnReader& reader(const DatasetFile& owner, const std::string& name) {
    auto found = readers.find(name);
    if (found == readers.end()) {
      found = readers
                  .try_emplace(name, hdf5.id(), path, descriptor, owner.column(name),
                               options.cache_bytes)
                  .first;
    }
    return found->second;
  }

  std::string path;
  DatasetFileOptions options;
  detail::FileDescriptor descriptor;
  Hdf5Handle hdf5;
  std::vector<ColumnInfo> columns;
  std::map<std::string, detail::ColumnReader> readers;
};

DatasetFile::DatasetFile(const std::string& path, DatasetFileOptions options)
    : state_(std::make_unique<State>(path, options)) {}
DatasetFile::~DatasetFile() = default;
DatasetFile::DatasetFile(DatasetFile&&) noexcept = default;
DatasetFile& DatasetFile::operator=(DatasetFile&&) noexcept = default;

const std::string& DatasetFile::path() const { return state_->path; }

const std::vector<ColumnInfo>& DatasetFile::columns() const { return state_->columns; }

const ColumnInfo* DatasetFile::find_column(const std::string& name) const {
  for (const auto& column : state_->columns) {
    if (column.name == name) return &column;
  }
  return nullptr;
}

const ColumnInfo& DatasetFile::column(const std::string& name) const {
  if (const auto* found = find_column(name)) return *found;
  std::vector<std::string> names;
  for (const auto& column : state_->columns) names.push_back(column.name);
  const auto nearest = base::nearest_name(name, names);
  throw base::DataError("data file " + base::quote(state_->path) + " has no dataset " +
                        base::quote(name) + " (it has: " + listed(state_->columns) + "); " +
                        (nearest ? "did you mean " + base::quote(*nearest) + "?"
                                 : "name another one, or see 'lockstep data inspect'"));
}

std::int64_t DatasetFile::rows() const {
  std::vector<std::string> names;
  for (const auto& column : state_->columns) {
    if (column.dtype != DType::kUnsupported && !column.shape.empty()) names.push_back(column.name);
  }
  return rows(names);
}

std::int64_t DatasetFile::rows(std::span<const std::string> names) const {
  if (names.empty()) return 0;
  const auto& first = column(names.front());
  for (const auto& name : names.subspan(1)) {
    const auto& other = column(name);
    if (other.rows() != first.rows()) {
      throw base::DataError("datasets " + base::quote(first.name) + " and " +
                            base::quote(other.name) + " of " + base::quote(state_->path) +
                            " have " + std::to_string(first.rows()) + " and " +
                            std::to_string(other.rows()) +
                            " rows (a sample is one row of each); make the file again with one "
                            "target for each input");
    }
  }
  return first.rows();
}

void DatasetFile::read_rows(const std::string& column, std::int64_t begin, std::int64_t count,
                            std::span<std::byte> out) {
  state_->reader(*this, column).read(begin, count, out);
}

void DatasetFile::read_rows(const std::string& column, std::span<const std::int64_t> rows,
                            std::span<std::byte> out) {
  state_->reader(*this, column).gather(rows, out);
}

std::string DatasetFile::access_of(const std::string& column) const {
  return state_->reader(*this, column).is_direct() ? "direct" : "decoded";
}

}  // namespace lockstep::data
