#pragma once
// Element types between HDF5 and DType. Internal to data/. Every function needs the Hdf5Lock.

#include <string>

#include "data/dataset_writer.hpp"
#include "data/dtype.hpp"
#include "data/hdf5_library.hpp"

namespace lockstep::data::detail {

/// An HDF5 type for elements of `dtype` in this byte order.
Hdf5Handle hdf5_type(DType dtype, ByteOrder order);
/// The same for elements in a file: little endian on every machine.
Hdf5Handle hdf5_file_type(DType dtype);

/// The DType that holds every value of an HDF5 type, or kUnsupported.
DType dtype_of(Hdf5Id type);
/// `u8`, `big-endian f32`, `string`, `compound`, ...
std::string type_name_of(Hdf5Id type);

}  // namespace lockstep::data::detail
