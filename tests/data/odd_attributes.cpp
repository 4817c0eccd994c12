#include "odd_attributes.hpp"

#include <hdf5.h>

#include <array>
#include <stdexcept>

#include "data/hdf5_library.hpp"

namespace lockstep::tests {
namespace {

using data::detail::Hdf5Handle;

hid_t made(hid_t result) {
  if (result < 0) throw std::runtime_error("HDF5 refused what a test needs");
  return result;
}

Hdf5Handle variable_strings() {
  Hdf5Handle type(made(H5Tcopy(H5T_C_S1)), H5Tclose);
  made(H5Tset_size(type.id(), H5T_VARIABLE));
  return type;
}

void add(hid_t object, const char* name, hid_t stored, hid_t native, const Hdf5Handle& space,
         const void* values) {
  const Hdf5Handle attribute(
      made(H5Acreate2(object, name, stored, space.id(), H5P_DEFAULT, H5P_DEFAULT)), H5Aclose);
  if (values != nullptr) made(H5Awrite(attribute.id(), native, values));
}

std::string values_of(hid_t attribute) {
  const Hdf5Handle type(made(H5Aget_type(attribute)), H5Tclose);
  const Hdf5Handle space(made(H5Aget_space(attribute)), H5Sclose);
  const auto count = static_cast<std::size_t>(H5Sget_simple_extent_npoints(space.id()));
  if (count == 0) return " nothing";
  std::string text;
  if (H5Tget_class(type.id()) == H5T_FLOAT) {
    std::vector<double> values(count);
    made(H5Aread(attribute, H5T_NATIVE_DOUBLE, values.data()));
    if (H5Tget_order(type.id()) == H5T_ORDER_BE) text += " big-endian";
    for (const auto value : values) text += " " + std::to_string(static_cast<int>(value));
  } else if (H5Tis_variable_str(type.id()) > 0) {
    std::vector<char*> values(count);
    made(H5Aread(attribute, type.id(), values.data()));
    for (const auto* value : values) text += std::string(" ") + value;
    H5Dvlen_reclaim(type.id(), space.id(), H5P_DEFAULT, values.data());
  } else {
    std::string value(H5Tget_size(type.id()), '\0');
    made(H5Aread(attribute, type.id(), value.data()));
    text += " " + value;
  }
  return text;
}

herr_t describe(hid_t object, const char* name, const H5A_info_t*, void* texts) {
  const Hdf5Handle attribute(made(H5Aopen(object, name, H5P_DEFAULT)), H5Aclose);
  static_cast<std::vector<std::string>*>(texts)->push_back(name +
                                                           (":" + values_of(attribute.id())));
  return 0;
}

}  // namespace

void add_odd_attributes(const std::string& path, const std::string& object) {
  const data::detail::Hdf5Lock lock;
  const Hdf5Handle file(made(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT)), H5Fclose);
  const Hdf5Handle owner(made(H5Oopen(file.id(), object.c_str(), H5P_DEFAULT)), H5Oclose);
  const hsize_t three = 3;
  const hsize_t two = 2;
  const Hdf5Handle of_three(made(H5Screate_simple(1, &three, nullptr)), H5Sclose);
  const Hdf5Handle of_two(made(H5Screate_simple(1, &two, nullptr)), H5Sclose);
  const Hdf5Handle of_one(made(H5Screate(H5S_SCALAR)), H5Sclose);
  const Hdf5Handle of_none(made(H5Screate(H5S_NULL)), H5Sclose);
  const std::array<float, 3> numbers{1, 2, 3};
  add(owner.id(), "numbers", H5T_IEEE_F32BE, H5T_NATIVE_FLOAT, of_three, numbers.data());
  const auto strings = variable_strings();
  const std::array<const char*, 2> words{"some", "longer words"};
  add(owner.id(), "words", strings.id(), strings.id(), of_two, words.data());
  add(owner.id(), "empty", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, of_none, nullptr);
  hobj_ref_t reference{};
  made(H5Rcreate(&reference, file.id(), object.c_str(), H5R_OBJECT, -1));
  add(owner.id(), "points", H5T_STD_REF_OBJ, H5T_STD_REF_OBJ, of_one, &reference);
}

std::vector<std::string> attributes_of(const std::string& path, const std::string& object) {
  const data::detail::Hdf5Lock lock;
  const Hdf5Handle file(made(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT)), H5Fclose);
  const Hdf5Handle owner(made(H5Oopen(file.id(), object.c_str(), H5P_DEFAULT)), H5Oclose);
  std::vector<std::string> texts;
  made(H5Aiterate2(owner.id(), H5_INDEX_NAME, H5_ITER_INC, nullptr, describe, &texts));
  return texts;
}

}  // namespace lockstep::tests
