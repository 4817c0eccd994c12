#include "data/dataset_writer.hpp"

#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/output_path.hpp"
#include "base/text.hpp"
#include "data/hdf5_attributes.hpp"
#include "data/hdf5_library.hpp"
#include "data/hdf5_types.hpp"

namespace lockstep::data {
namespace {

using detail::Hdf5Handle;
using detail::Hdf5Id;
using detail::Hdf5Lock;
using detail::write_checked;

/// Elements of a large dataset start at a page, so that they can be mapped.
constexpr hsize_t kPageBytes = 4096;
constexpr hsize_t kAlignFromBytes = 65536;

std::string temporary_prefix(const std::string& path) {
  return "." + std::filesystem::path(path).filename().string() + ".tmp-";
}

std::string temporary_name(const std::string& path) {
  return base::join_path(base::parent_path(path),
                         temporary_prefix(path) + std::to_string(::getpid()));
}

}  // namespace

struct DatasetWriter::State {
  struct Column {
    Hdf5Handle dataset;
    DType dtype;
    std::vector<hsize_t> shape;
    std::size_t row_bytes;
  };

  std::string path;
  std::string temporary;
  Hdf5Handle file;
  std::map<std::string, Column> columns;
  bool committed = false;

  std::string writing(const std::string& column) const {
    return "dataset " + base::quote(column) + " of " + base::quote(path) + " cannot be written";
  }
};

DatasetWriter::DatasetWriter(const std::string& path) : state_(std::make_unique<State>()) {
  auto& state = *state_;
  state.path = path;
  state.temporary = temporary_name(path);
  base::require_output_path(path);
  const auto what = "output " + base::quote(path) + " cannot be made";
  const Hdf5Lock lock;
  const Hdf5Handle access(write_checked(H5Pcreate(H5P_FILE_ACCESS), "H5Pcreate", what), H5Pclose);
  // 1.8: read by every HDF5 in use, and its metadata carry checksums, which older formats lack.
  write_checked(H5Pset_libver_bounds(access.id(), H5F_LIBVER_V18, H5F_LIBVER_V18),
                "H5Pset_libver_bounds", what);
  write_checked(H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG), "H5Pset_fclose_degree", what);
  write_checked(H5Pset_alignment(access.id(), kAlignFromBytes, kPageBytes), "H5Pset_alignment",
                what);
  const Hdf5Handle creation(write_checked(H5Pcreate(H5P_FILE_CREATE), "H5Pcreate", what), H5Pclose);
  write_checked(H5Pset_obj_track_times(creation.id(), false), "H5Pset_obj_track_times", what);
  state.file = Hdf5Handle(
      write_checked(H5Fcreate(state.temporary.c_str(), H5F_ACC_TRUNC, creation.id(), access.id()),
                    "H5Fcreate", what),
      H5Fclose);
}

DatasetWriter::~DatasetWriter() {
  state_->columns.clear();
  state_->file.close();
  if (!state_->committed) ::unlink(state_->temporary.c_str());
}

void DatasetWriter::add_column(const std::string& name, DType dtype,
                               std::span<const std::int64_t> shape, ColumnLayout layout) {
  LOCKSTEP_EXPECT(!shape.empty() && std::all_of(shape.begin(), shape.end(),
                                                [](std::int64_t length) { return length >= 1; }),
                  "column " + base::quote(name) + " has an empty shape");
  LOCKSTEP_EXPECT(layout.deflate >= 0 && layout.deflate <= 9 && layout.chunk_rows >= 0 &&
                      (layout.deflate == 0 || layout.chunk_rows > 0),
                  "column " + base::quote(name) + " has an impossible layout");
  auto& state = *state_;
  const auto what = state.writing(name);
  const Hdf5Lock lock;
  const Hdf5Handle plist(write_checked(H5Pcreate(H5P_DATASET_CREATE), "H5Pcreate", what), H5Pclose);
  write_checked(H5Pset_obj_track_times(plist.id(), false), "H5Pset_obj_track_times", what);
  std::vector<hsize_t> extent(shape.begin(), shape.end());
  if (layout.chunk_rows > 0) {
    auto chunk = extent;
    chunk[0] = std::min<hsize_t>(chunk[0], static_cast<hsize_t>(layout.chunk_rows));
    write_checked(H5Pset_chunk(plist.id(), static_cast<int>(chunk.size()), chunk.data()),
                  "H5Pset_chunk", what);
    if (layout.deflate > 0) {
      write_checked(H5Pset_shuffle(plist.id()), "H5Pset_shuffle", what);
      write_checked(H5Pset_deflate(plist.id(), static_cast<unsigned>(layout.deflate)),
                    "H5Pset_deflate", what);
    }
  } else {
    // All rows are written, so filling them first would write everything twice.
    write_checked(H5Pset_fill_time(plist.id(), H5D_FILL_TIME_NEVER), "H5Pset_fill_time", what);
  }
  const Hdf5Handle space(
      write_checked(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr),
                    "H5Screate_simple", what),
      H5Sclose);
  const Hdf5Handle links(write_checked(H5Pcreate(H5P_LINK_CREATE), "H5Pcreate", what), H5Pclose);
  write_checked(H5Pset_create_intermediate_group(links.id(), 1), "H5Pset_create_intermediate_group",
                what);
  Hdf5Handle dataset(
      write_checked(H5Dcreate2(state.file.id(), name.c_str(), detail::hdf5_file_type(dtype).id(),
                               space.id(), links.id(), plist.id(), H5P_DEFAULT),
                    "H5Dcreate2", what),
      H5Dclose);
  std::size_t row_bytes = size_of(dtype);
  for (const auto length : shape.subspan(1)) row_bytes *= static_cast<std::size_t>(length);
  state.columns.insert_or_assign(
      name, State::Column{std::move(dataset), dtype, std::move(extent), row_bytes});
}

void DatasetWriter::write_rows(const std::string& name, std::int64_t begin, std::int64_t count,
                               std::span<const std::byte> bytes, ByteOrder order) {
  auto& state = *state_;
  const auto found = state.columns.find(name);
  LOCKSTEP_EXPECT(found != state.columns.end(), "column " + base::quote(name) + " was not added");
  const auto& column = found->second;
  LOCKSTEP_EXPECT(begin >= 0 && count >= 1 &&
                      begin + count <= static_cast<std::int64_t>(column.shape[0]) &&
                      bytes.size() == static_cast<std::size_t>(count) * column.row_bytes,
                  "rows of column " + base::quote(name) + " do not fit it");
  const auto what = state.writing(name);
  std::vector<hsize_t> start(column.shape.size(), 0);
  auto extent = column.shape;
  start[0] = static_cast<hsize_t>(begin);
  extent[0] = static_cast<hsize_t>(count);

  const Hdf5Lock lock;
  const Hdf5Handle file_space(
      write_checked(H5Dget_space(column.dataset.id()), "H5Dget_space", what), H5Sclose);
  write_checked(H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start.data(), nullptr,
                                    extent.data(), nullptr),
                "H5Sselect_hyperslab", what);
  const Hdf5Handle memory_space(
      write_checked(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr),
                    "H5Screate_simple", what),
      H5Sclose);
  write_checked(H5Dwrite(column.dataset.id(), detail::hdf5_type(column.dtype, order).id(),
                         memory_space.id(), file_space.id(), H5P_DEFAULT, bytes.data()),
                "H5Dwrite", what);
}

void DatasetWriter::set_attribute(const std::string& name, const std::string& text) {
  const auto what =
      "attribute " + base::quote(name) + " of " + base::quote(state_->path) + " cannot be written";
  const Hdf5Lock lock;
  const Hdf5Handle type(write_checked(H5Tcopy(H5T_C_S1), "H5Tcopy", what), H5Tclose);
  write_checked(H5Tset_size(type.id(), std::max<std::size_t>(1, text.size())), "H5Tset_size", what);
  write_checked(H5Tset_cset(type.id(), H5T_CSET_UTF8), "H5Tset_cset", what);
  write_checked(H5Tset_strpad(type.id(), H5T_STR_NULLPAD), "H5Tset_strpad", what);
  const Hdf5Handle space(write_checked(H5Screate(H5S_SCALAR), "H5Screate", what), H5Sclose);
  const Hdf5Handle attribute(write_checked(H5Acreate2(state_->file.id(), name.c_str(), type.id(),
                                                      space.id(), H5P_DEFAULT, H5P_DEFAULT),
                                           "H5Acreate2", what),
                             H5Aclose);
  write_checked(H5Awrite(attribute.id(), type.id(), text.c_str()), "H5Awrite", what);
}

std::vector<std::string> DatasetWriter::copy_attributes(const DatasetFile& source) {
  std::vector<std::string> notes;
  const Hdf5Lock lock;
  const auto carry = [&](Hdf5Id from, Hdf5Id to, const std::string& what) {
    for (const auto& name : detail::copy_attributes(from, to, what)) {
      notes.push_back("attribute " + base::quote(name) + " of " + what +
                      " was left out (it refers to objects of that file)");
    }
  };
  const auto file = "data file " + base::quote(source.path());
  carry(source.hdf5_id(), state_->file.id(), file);
  for (const auto& [name, column] : state_->columns) {
    const auto* info = source.find_column(name);
    if (info == nullptr) continue;
    const auto what = "dataset " + base::quote(name) + " of " + base::quote(source.path());
    const auto dataset = detail::open_dataset(source.hdf5_id(), info->dataset, what);
    carry(dataset.id(), column.dataset.id(), what);
  }
  return notes;
}

void DatasetWriter::commit(const Inspection& inspection) {
  auto& state = *state_;
  LOCKSTEP_EXPECT(static_cast<bool>(state.file), "a dataset file was committed twice");
  const auto what = "output " + base::quote(state.path) + " cannot be completed";
  {
    const Hdf5Lock lock;
    for (auto& [name, column] : state.columns) {
      write_checked(column.dataset.close(), "H5Dclose", what);
    }
    state.columns.clear();
    write_checked(state.file.close(), "H5Fclose", what);
  }
  if (inspection) inspection(state.temporary);

  auto& files = base::FileSystem::posix();
  files.open(state.temporary, base::OpenMode::kExisting)->sync();
  files.rename(state.temporary, state.path);
  state.committed = true;
  files.sync_directory(base::parent_path(state.path));
}

void remove_unfinished(const std::string& path) {
  auto& files = base::FileSystem::posix();
  const auto directory = base::parent_path(path);
  for (const auto& name : files.list(directory)) {
    const auto prefix = temporary_prefix(path);
    const auto digits = std::string_view(name).substr(std::min(prefix.size(), name.size()));
    const bool number = digits.find_first_not_of("0123456789") == std::string_view::npos;
    if (name.starts_with(prefix) && !digits.empty() && number) {
      files.remove_all(base::join_path(directory, name));
    }
  }
}

}  // namespace lockstep::data
