#pragma once
// Element types between HDF5 and DType. Internal to data/. Every function needs the Hdf5Lock.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/dataset_writer.hpp"
#include "data/dtype.hpp"
#include "data/hdf5_library.hpp"

namespace lockstep::data::detail {

/// An HDF5 type for elements of `dtype` in this byte order.
Hdf5Handle hdf5_type(DType dtype, ByteOrder order);
/// The same for elements in a file: little endian on every machine.
Hdf5Handle hdf5_file_type(DType dtype);

/// What one column sees of an HDF5 element: the whole of it, or one member of a compound.
struct ElementType {
  std::vector<std::string> members;   ///< path to the member; empty = the whole element
  DType dtype = DType::kUnsupported;  ///< holds every value; kUnsupported where none does
  std::string name;                   ///< as people read it: `u8`, `big-endian f32`, `string`
  std::size_t offset = 0;             ///< of the member in the element
  std::vector<std::int64_t> lengths;  ///< of an array type
  bool swapped = false;               ///< stored in the other byte order than this machine's
  bool standard = false;              ///< stored exactly as `dtype`, but for the byte order
};

/// The columns that a dataset of this type makes: one, or one for each member of a compound.
std::vector<ElementType> elements_of(Hdf5Id type);

/// The one whose path is `members`. Throws InternalError when there is none.
ElementType element_of(Hdf5Id type, const std::vector<std::string>& members);

/// The HDF5 type by which H5Dread gives a column's values packed and in native byte order.
Hdf5Handle memory_type(const ElementType& element);

}  // namespace lockstep::data::detail
