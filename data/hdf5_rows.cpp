#include "data/hdf5_rows.hpp"

#include <hdf5.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/text.hpp"
#include "data/hdf5_types.hpp"

namespace lockstep::data::detail {
namespace {

const char* const kDamageAdvice =
    "the file is damaged, or was written with a filter that this HDF5 lacks; make the file again";

constexpr std::size_t kMostName = 4096;

[[noreturn]] void refuse_missing(const std::string& what, const std::string& file,
                                 const std::string& why) {
  throw base::DataError(what + " has parts in " + base::quote(file) + ", which " + why +
                        " (HDF5 would read fill values in their place); bring that file back");
}

/// HDF5 looks for a virtual dataset's files beside the file that names them, then where the process
/// stands.
void require_virtual_sources(Hdf5Id plist, const std::string& path, const std::string& what) {
  std::size_t count = 0;
  read_checked(H5Pget_virtual_count(plist, &count), "H5Pget_virtual_count", what, kDamageAdvice);
  auto& files = base::FileSystem::posix();
  std::vector<char> name(kMostName);
  for (std::size_t i = 0; i < count; ++i) {
    read_checked(H5Pget_virtual_filename(plist, i, name.data(), name.size()),
                 "H5Pget_virtual_filename", what, kDamageAdvice);
    const std::string source = name.data();
    // A pattern of names ends where the files end, by its definition.
    if (source == "." || source.find('%') != std::string::npos) continue;
    if (!files.exists(base::join_path(base::parent_path(path), source)) && !files.exists(source)) {
      refuse_missing(what, source, "does not exist");
    }
  }
}

void require_external_files(Hdf5Id plist, const std::string& what) {
  auto& files = base::FileSystem::posix();
  const auto count = std::max(H5Pget_external_count(plist), 0);
  std::vector<char> name(kMostName);
  for (int i = 0; i < count; ++i) {
    off_t offset = 0;
    hsize_t bytes = 0;
    read_checked(
        H5Pget_external(plist, static_cast<unsigned>(i), name.size(), name.data(), &offset, &bytes),
        "H5Pget_external", what, kDamageAdvice);
    const auto size = files.file_size(name.data());
    if (!size) refuse_missing(what, name.data(), "does not exist");
    const auto end = static_cast<std::uint64_t>(offset) + bytes;
    if (bytes != H5F_UNLIMITED && *size < end) {
      refuse_missing(what, name.data(), "ends before byte " + std::to_string(end));
    }
  }
}

void read_elements(Hdf5Id dataset, const std::vector<std::int64_t>& extent, std::int64_t begin,
                   std::int64_t count, Hdf5Id type, void* out, const std::string& what) {
  std::vector<hsize_t> start(extent.size(), 0);
  std::vector<hsize_t> lengths(extent.begin(), extent.end());
  start[0] = static_cast<hsize_t>(begin);
  lengths[0] = static_cast<hsize_t>(count);
  const auto problem = what + " could not be read at row " + std::to_string(begin);
  const Hdf5Handle file_space(
      read_checked(H5Dget_space(dataset), "H5Dget_space", problem, kDamageAdvice), H5Sclose);
  read_checked(H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start.data(), nullptr,
                                   lengths.data(), nullptr),
               "H5Sselect_hyperslab", problem, kDamageAdvice);
  const Hdf5Handle memory_space(
      read_checked(H5Screate_simple(static_cast<int>(lengths.size()), lengths.data(), nullptr),
                   "H5Screate_simple", problem, kDamageAdvice),
      H5Sclose);
  read_checked(H5Dread(dataset, type, memory_space.id(), file_space.id(), H5P_DEFAULT, out),
               "H5Dread", problem, kDamageAdvice);
}

}  // namespace

Hdf5Rows::Hdf5Rows(Hdf5Id dataset, const ColumnInfo& column, const std::string& path)
    : dataset_(dataset), what_("dataset " + base::quote(column.name) + " of " + base::quote(path)) {
  const Hdf5Lock lock;
  const Hdf5Handle plist(
      read_checked(H5Dget_create_plist(dataset), "H5Dget_create_plist", what_, kDamageAdvice),
      H5Pclose);
  if (H5Pget_layout(plist.id()) == H5D_VIRTUAL) require_virtual_sources(plist.id(), path, what_);
  require_external_files(plist.id(), what_);
  const Hdf5Handle type(read_checked(H5Dget_type(dataset), "H5Dget_type", what_, kDamageAdvice),
                        H5Tclose);
  const auto element = element_of(type.id(), column.members);
  type_ = memory_type(element);
  extent_.assign(column.shape.begin(),
                 column.shape.end() - static_cast<std::ptrdiff_t>(element.lengths.size()));
}

void Hdf5Rows::read(std::int64_t begin, std::int64_t count, std::span<std::byte> out) {
  if (count == 0) return;
  const Hdf5Lock lock;
  read_elements(dataset_, extent_, begin, count, type_.id(), out.data(), what_);
}

std::vector<std::string> read_strings_through_hdf5(Hdf5Id dataset, const std::string& what,
                                                   std::int64_t begin, std::int64_t count) {
  if (count == 0) return {};
  const Hdf5Lock lock;
  const Hdf5Handle stored(read_checked(H5Dget_type(dataset), "H5Dget_type", what, kDamageAdvice),
                          H5Tclose);
  std::vector<std::string> strings;
  if (H5Tis_variable_str(stored.id()) > 0) {
    std::vector<char*> texts(static_cast<std::size_t>(count), nullptr);
    read_elements(dataset, {count}, begin, count, stored.id(), texts.data(), what);
    for (auto* text : texts) {
      strings.emplace_back(text == nullptr ? "" : text);
      H5free_memory(text);
    }
    return strings;
  }
  const auto length = H5Tget_size(stored.id());
  std::string all(length * static_cast<std::size_t>(count), '\0');
  read_elements(dataset, {count}, begin, count, stored.id(), all.data(), what);
  const bool spaces = H5Tget_strpad(stored.id()) == H5T_STR_SPACEPAD;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    auto text = all.substr(i * length, length);
    text.resize(std::min(text.size(), text.find('\0')));
    if (spaces) text.resize(text.find_last_not_of(' ') + 1);
    strings.push_back(std::move(text));
  }
  return strings;
}

}  // namespace lockstep::data::detail
