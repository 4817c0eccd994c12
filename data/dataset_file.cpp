#include "data/dataset_file.hpp"

#include <hdf5.h>

#include <array>
#include <cstring>
#include <map>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/column_list.hpp"
#include "data/file_descriptor.hpp"
#include "data/hdf5_driver.hpp"
#include "data/hdf5_library.hpp"
#include "data/hdf5_rows.hpp"
#include "data/mapped_file.hpp"
#include "data/row_reader.hpp"

namespace lockstep::data {
namespace {

using detail::Hdf5Handle;
using detail::Hdf5Lock;
using detail::read_checked;

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

/// Headers and indexes are read once: a cache of HDF5's usual 2 MiB a file would stay for nothing.
void keep_little_metadata(detail::Hdf5Id access) {
  constexpr std::size_t kBytes = 64 << 10;
  H5AC_cache_config_t config{};
  config.version = H5AC__CURR_CACHE_CONFIG_VERSION;
  H5Pget_mdc_config(access, &config);
  config.set_initial_size = true;
  config.initial_size = config.min_size = config.max_size = kBytes;
  config.incr_mode = H5C_incr__off;
  config.flash_incr_mode = H5C_flash_incr__off;
  config.decr_mode = H5C_decr__off;
  H5Pset_mdc_config(access, &config);
}

Hdf5Handle open_hdf5(const std::string& path, const detail::FileDescriptor& file) {
  if (!has_signature(file)) {
    throw base::DataError("data file " + base::quote(path) + " is not HDF5 (" +
                          base::format_bytes(file.size()) +
                          " without an HDF5 signature); convert it with 'lockstep data import'");
  }
  const Hdf5Lock lock;
  const auto access = detail::driver_access();
  // What HDF5 leaves open after an error inside a damaged file must not keep the file alive.
  H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG);
  keep_little_metadata(access.id());
  const auto id = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id());
  if (id < 0) {
    const auto reason = detail::hdf5_reason();
    const bool truncated = reason.find("truncated") != std::string::npos;
    throw base::DataError("data file " + base::quote(path) +
                          (truncated ? " was cut short" : " cannot be opened") +
                          " (H5Fopen: " + reason + "); " +
                          (truncated ? "copy it again, or make it again if its writer was stopped"
                                     : "the file is damaged; copy or make it again"));
  }
  return {id, H5Fclose};
}

std::string listed(const std::vector<ColumnInfo>& columns) {
  std::vector<std::string> names;
  names.reserve(columns.size());
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
        mapped(descriptor),
        hdf5(open_hdf5(path, descriptor)) {
    const Hdf5Lock lock;
    columns = detail::list_columns(hdf5.id(), path, descriptor.size());
  }

  detail::RowReader& reader(const DatasetFile& owner, const std::string& name) {
    auto found = readers.find(name);
    if (found == readers.end()) {
      const detail::RowReader::Files files{hdf5.id(), path, descriptor, mapped};
      found = readers.try_emplace(name, files, owner.column(name), options).first;
    }
    return found->second;
  }

  Hdf5Handle open_dataset(const ColumnInfo& info) const {
    return detail::open_dataset(hdf5.id(), info.dataset,
                                "dataset " + base::quote(info.name) + " of " + base::quote(path));
  }

  std::string path;
  DatasetFileOptions options;
  detail::FileDescriptor descriptor;
  detail::MappedFile mapped;
  Hdf5Handle hdf5;
  std::vector<ColumnInfo> columns;
  std::map<std::string, detail::RowReader> readers;
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
  const auto row_bytes = this->column(column).row_bytes();
  LOCKSTEP_EXPECT(out.size() == rows.size() * row_bytes,
                  "the buffer for rows of dataset " + base::quote(column) + " has another size");
  visit_rows(column, rows, [&](std::size_t place, const std::byte* row) {
    std::memcpy(out.data() + place * row_bytes, row, row_bytes);
  });
}

void DatasetFile::visit_rows(const std::string& column, std::span<const std::int64_t> rows,
                             const UseRow& use) {
  state_->reader(*this, column).visit(rows, use);
}

std::optional<RowPlaces> DatasetFile::places_of(const std::string& column) {
  return state_->reader(*this, column).places();
}

std::int64_t DatasetFile::hdf5_id() const { return state_->hdf5.id(); }

BringRows DatasetFile::ahead(const std::string& column) {
  return state_->reader(*this, column).ahead();
}

std::vector<std::string> DatasetFile::read_strings(const std::string& name, std::int64_t begin,
                                                   std::int64_t count) {
  const auto& info = column(name);
  const auto what = "dataset " + base::quote(name) + " of " + base::quote(path());
  if (info.type_name != "string" || !info.members.empty() || info.shape.size() != 1) {
    throw base::DataError(what + " holds " + info.type_name +
                          " elements (strings are wanted, one a row); name another dataset");
  }
  LOCKSTEP_EXPECT(begin >= 0 && count >= 0 && begin <= info.rows() - count,
                  "rows of " + what + " do not exist");
  const Hdf5Lock lock;
  const auto dataset = state_->open_dataset(info);
  return detail::read_strings_through_hdf5(dataset.id(), what, begin, count);
}

std::uint64_t DatasetFile::stored_bytes(const std::string& name) const {
  const auto& info = column(name);
  if (info.chunk.empty()) return info.stored_bytes;
  const Hdf5Lock lock;
  return H5Dget_storage_size(state_->open_dataset(info).id());
}

RowAccess DatasetFile::access_of(const std::string& column) const {
  return state_->reader(*this, column).access();
}

std::string DatasetFile::access_text(const std::string& column) const {
  const auto& reader = state_->reader(*this, column);
  switch (reader.access()) {
    case RowAccess::kMapped: return "mapped";
    case RowAccess::kConverted: return "mapped, converted";
    case RowAccess::kDecoded: return "decoded";
    case RowAccess::kHdf5: break;
  }
  return "HDF5 (" + reader.why_foreign() + ")";
}

std::size_t DatasetFile::whole_cache_bytes(const std::string& column) const {
  return state_->reader(*this, column).whole_cache_bytes();
}

std::size_t DatasetFile::cache_bytes(const std::string& column, std::size_t budget,
                                     std::int64_t window_rows) const {
  return state_->reader(*this, column).cache_bytes(budget, window_rows);
}

void DatasetFile::share_cache(const std::string& column, std::span<std::byte> memory,
                              std::int64_t window_rows) {
  state_->reader(*this, column).share_cache(memory, window_rows);
}

}  // namespace lockstep::data
