#include "imported.hpp"

#include <hdf5.h>

#include "data/hdf5_library.hpp"
#include "odd_files.hpp"

namespace lockstep::tests {

using data::detail::Hdf5Handle;

std::string attribute_of(const std::string& path, const std::string& name) {
  const data::detail::Hdf5Lock lock;
  const Hdf5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (H5Aexists(file.id(), name.c_str()) <= 0) return {};
  const Hdf5Handle attribute(H5Aopen(file.id(), name.c_str(), H5P_DEFAULT), H5Aclose);
  const Hdf5Handle type(H5Aget_type(attribute.id()), H5Tclose);
  std::string text(H5Tget_size(type.id()), '\0');
  H5Aread(attribute.id(), type.id(), text.data());
  return text;
}

void write_text(const std::string& path, const std::string& text) {
  write_file(path, std::as_bytes(std::span(text)));
}

}  // namespace lockstep::tests
