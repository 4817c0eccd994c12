#pragma once
// The datasets of an open HDF5 file. Internal to data/.

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset_file.hpp"
#include "data/hdf5_library.hpp"

namespace lockstep::data::detail {

/// Every dataset in the root group and the groups below it. Needs the Hdf5Lock. Throws DataError
/// when one cannot be described or claims more bytes than the file can hold.
std::vector<ColumnInfo> list_columns(Hdf5Id file, const std::string& path,
                                     std::uint64_t file_bytes);

}  // namespace lockstep::data::detail
