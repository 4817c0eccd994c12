#pragma once
// The seam between Lockstep and the module that reads Parquet files with Apache Arrow. Internal to
// data/import.
//
// Arrow is a module of its own and loaded when it is wanted, because it comes from a Python wheel
// that need not be there, is 70 MB, and `lockstep` must start in milliseconds without it. Nothing
// of Arrow's passes the seam, nor anything of HDF5: the module hands out rows, the program writes
// them.

#include "data/import/table_reader.hpp"

namespace lockstep::data::detail {

inline constexpr char kParquetModule[] = "lockstep_parquet.so";
inline constexpr char kParquetSymbol[] = "lockstep_open_parquet";

/// A new reader of the file at `path`, owned by the caller. Throws DataError when it cannot be
/// read.
using OpenParquet = TableReader*(const char* path);

}  // namespace lockstep::data::detail
