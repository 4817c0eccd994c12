#include "data/hdf5_attributes.hpp"

#include <hdf5.h>

#include <cstddef>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::data::detail {
namespace {

const char* const kRemakeAdvice = "the file is damaged; copy or make it again";
/// More is no attribute but damage.
constexpr std::size_t kMostBytes = std::size_t{64} << 20;

herr_t add_name(hid_t, const char* name, const H5A_info_t*, void* names) {
  static_cast<std::vector<std::string>*>(names)->emplace_back(name);
  return 0;
}

/// The values of an attribute in memory, with what HDF5 allocated for strings of any length.
class Values {
 public:
  Values(Hdf5Id attribute, Hdf5Id type, Hdf5Id space, std::size_t bytes, const std::string& what)
      : type_(type), space_(space), bytes_(bytes) {
    read_checked(H5Aread(attribute, type, bytes_.data()), "H5Aread", what, kRemakeAdvice);
    read_ = true;
  }
  ~Values() {
    if (read_) H5Dvlen_reclaim(type_, space_, H5P_DEFAULT, bytes_.data());
  }
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;

  const std::byte* data() const { return bytes_.data(); }

 private:
  Hdf5Id type_;
  Hdf5Id space_;
  std::vector<std::byte> bytes_;
  bool read_ = false;
};

/// False when the attribute refers to objects of its file.
bool copy(Hdf5Id from, Hdf5Id to, const std::string& name, const std::string& owner) {
  const auto what = "attribute " + base::quote(name) + " of " + owner;
  const auto reading = what + " cannot be read";
  const auto writing = what + " cannot be written to the new file";
  const auto read = [&](Hdf5Id result, const char* call) {
    return read_checked(result, call, reading, kRemakeAdvice);
  };
  const Hdf5Handle old(read(H5Aopen(from, name.c_str(), H5P_DEFAULT), "H5Aopen"), H5Aclose);
  const Hdf5Handle stored(read(H5Aget_type(old.id()), "H5Aget_type"), H5Tclose);
  if (read(H5Tdetect_class(stored.id(), H5T_REFERENCE), "H5Tdetect_class") > 0) return false;
  // A type that has a name in the other file has none here.
  const Hdf5Handle type(read(H5Tcopy(stored.id()), "H5Tcopy"), H5Tclose);
  const Hdf5Handle native(read(H5Tget_native_type(type.id(), H5T_DIR_ASCEND), "H5Tget_native_type"),
                          H5Tclose);
  const Hdf5Handle space(read(H5Aget_space(old.id()), "H5Aget_space"), H5Sclose);
  const auto count = static_cast<std::size_t>(
      read(H5Sget_simple_extent_npoints(space.id()), "H5Sget_simple_extent_npoints"));
  const auto bytes = H5Tget_size(native.id());
  if (bytes == 0 || count > kMostBytes / bytes) {
    throw base::DataError(reading + " (it claims more than 64 MiB); " + kRemakeAdvice);
  }
  const Hdf5Handle made(
      write_checked(H5Acreate2(to, name.c_str(), type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT),
                    "H5Acreate2", writing),
      H5Aclose);
  if (count == 0) return true;
  const Values values(old.id(), native.id(), space.id(), count * bytes, reading);
  write_checked(H5Awrite(made.id(), native.id(), values.data()), "H5Awrite", writing);
  return true;
}

}  // namespace

std::vector<std::string> copy_attributes(Hdf5Id from, Hdf5Id to, const std::string& what) {
  std::vector<std::string> names;
  read_checked(H5Aiterate2(from, H5_INDEX_NAME, H5_ITER_INC, nullptr, add_name, &names),
               "H5Aiterate2", "attributes of " + what + " cannot be listed", kRemakeAdvice);
  std::vector<std::string> left_out;
  for (const auto& name : names) {
    if (H5Aexists(to, name.c_str()) > 0) continue;
    if (!copy(from, to, name, what)) left_out.push_back(name);
  }
  return left_out;
}

}  // namespace lockstep::data::detail
