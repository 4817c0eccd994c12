#pragma once
// Attributes of one HDF5 object carried to another. Internal to data/; needs the Hdf5Lock.

#include <string>
#include <vector>

#include "data/hdf5_library.hpp"

namespace lockstep::data::detail {

/// Copies the attributes of `from` that `to` has none of, with their types. `what` names `from` in
/// messages. Those that refer to objects of their file are left out and returned by name. Throws
/// DataError when one cannot be read, IoError when one cannot be written.
std::vector<std::string> copy_attributes(Hdf5Id from, Hdf5Id to, const std::string& what);

}  // namespace lockstep::data::detail
