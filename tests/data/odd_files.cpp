#include "odd_files.hpp"

#include <hdf5.h>

#include <fstream>
#include <iterator>
#include <stdexcept>

#include "data/hdf5_types.hpp"

namespace lockstep::tests {
namespace {

using data::detail::Hdf5Handle;
using data::detail::Hdf5Lock;

hid_t made(hid_t id) {
  if (id < 0) throw std::runtime_error("HDF5 could not make a test file");
  return id;
}

}  // namespace

OddFile::OddFile(const std::string& path, FileFormat format, std::uint64_t user_block_bytes) {
  const Hdf5Lock lock;
  const Hdf5Handle access(made(H5Pcreate(H5P_FILE_ACCESS)), H5Pclose);
  const Hdf5Handle creation(made(H5Pcreate(H5P_FILE_CREATE)), H5Pclose);
  if (format == FileFormat::kChecked) {
    made(H5Pset_libver_bounds(access.id(), H5F_LIBVER_V18, H5F_LIBVER_V18));
  }
  made(H5Pset_userblock(creation.id(), user_block_bytes));
  id_ = made(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.id(), access.id()));
}

OddFile::~OddFile() {
  const Hdf5Lock lock;
  H5Fclose(id_);
}

OddFile& OddFile::add(const OddColumn& column) {
  const Hdf5Lock lock;
  const Hdf5Handle plist(made(H5Pcreate(H5P_DATASET_CREATE)), H5Pclose);
  if (!column.chunk.empty()) {
    const std::vector<hsize_t> chunk(column.chunk.begin(), column.chunk.end());
    made(H5Pset_chunk(plist.id(), static_cast<int>(chunk.size()), chunk.data()));
  }
  if (column.deflate > 0) made(H5Pset_deflate(plist.id(), static_cast<unsigned>(column.deflate)));
  if (column.fletcher32) made(H5Pset_fletcher32(plist.id()));
  const std::vector<hsize_t> extent(column.shape.begin(), column.shape.end());
  const Hdf5Handle space(
      made(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr)), H5Sclose);
  const auto file_type = data::detail::hdf5_type(column.dtype, column.order);
  const Hdf5Handle dataset(made(H5Dcreate2(id_, column.name.c_str(), file_type.id(), space.id(),
                                           H5P_DEFAULT, plist.id(), H5P_DEFAULT)),
                           H5Dclose);
  if (!column.bytes.empty()) {
    const auto type = data::detail::hdf5_type(column.dtype, data::ByteOrder::kNative);
    made(H5Dwrite(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, column.bytes.data()));
  }
  return *this;
}

OddFile& OddFile::add_strings(const std::string& name, std::int64_t rows) {
  const Hdf5Lock lock;
  const auto extent = static_cast<hsize_t>(rows);
  const Hdf5Handle type(made(H5Tcopy(H5T_C_S1)), H5Tclose);
  made(H5Tset_size(type.id(), 8));
  const Hdf5Handle space(made(H5Screate_simple(1, &extent, nullptr)), H5Sclose);
  const Hdf5Handle dataset(made(H5Dcreate2(id_, name.c_str(), type.id(), space.id(), H5P_DEFAULT,
                                           H5P_DEFAULT, H5P_DEFAULT)),
                           H5Dclose);
  return *this;
}

OddFile& OddFile::add_enums(const std::string& name, std::int64_t rows) {
  const Hdf5Lock lock;
  const auto extent = static_cast<hsize_t>(rows);
  const Hdf5Handle type(made(H5Tenum_create(H5T_STD_I8LE)), H5Tclose);
  signed char value = 0;
  made(H5Tenum_insert(type.id(), "FALSE", &value));
  const Hdf5Handle space(made(H5Screate_simple(1, &extent, nullptr)), H5Sclose);
  const Hdf5Handle dataset(made(H5Dcreate2(id_, name.c_str(), type.id(), space.id(), H5P_DEFAULT,
                                           H5P_DEFAULT, H5P_DEFAULT)),
                           H5Dclose);
  return *this;
}

OddFile& OddFile::add_scalar(const std::string& name) {
  const Hdf5Lock lock;
  const Hdf5Handle space(made(H5Screate(H5S_SCALAR)), H5Sclose);
  const Hdf5Handle dataset(made(H5Dcreate2(id_, name.c_str(), H5T_STD_I32LE, space.id(),
                                           H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)),
                           H5Dclose);
  return *this;
}

OddFile& OddFile::add_group(const std::string& name) {
  const Hdf5Lock lock;
  const Hdf5Handle group(made(H5Gcreate2(id_, name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)),
                         H5Gclose);
  return *this;
}

OddFile& OddFile::add_hard_link(const std::string& target, const std::string& name) {
  const Hdf5Lock lock;
  made(H5Lcreate_hard(id_, target.c_str(), id_, name.c_str(), H5P_DEFAULT, H5P_DEFAULT));
  return *this;
}

OddFile& OddFile::add_soft_link(const std::string& target, const std::string& name) {
  const Hdf5Lock lock;
  made(H5Lcreate_soft(target.c_str(), id_, name.c_str(), H5P_DEFAULT, H5P_DEFAULT));
  return *this;
}

std::vector<std::byte> read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::vector<char> chars{std::istreambuf_iterator<char>(stream), {}};
  const auto bytes = std::as_bytes(std::span(chars));
  return {bytes.begin(), bytes.end()};
}

void write_file(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  if (!stream.flush()) throw std::runtime_error("a test file could not be written");
}

}  // namespace lockstep::tests
