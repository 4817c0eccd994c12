#pragma once
// Rows of a dataset as HDF5 itself reads and converts them: for every storage that this program
// does not read on its own. Internal to data/; one thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/dataset_file.hpp"
#include "data/hdf5_library.hpp"

namespace lockstep::data::detail {

class Hdf5Rows {
 public:
  /// `dataset` must outlive it. Throws DataError when files that hold parts of the dataset are
  /// missing or too short: HDF5 would give fill values in their place.
  Hdf5Rows(Hdf5Id dataset, const ColumnInfo& column, const std::string& path);

  /// Rows [begin, begin + count), packed and in native byte order. Throws DataError.
  void read(std::int64_t begin, std::int64_t count, std::span<std::byte> out);

 private:
  Hdf5Id dataset_;
  Hdf5Handle type_;
  std::vector<std::int64_t> extent_;
  std::string what_;
};

/// Strings of rows [begin, begin + count) of a dataset `[rows]` of fixed or variable strings.
/// Throws DataError.
std::vector<std::string> read_strings_through_hdf5(Hdf5Id dataset, const std::string& what,
                                                   std::int64_t begin, std::int64_t count);

}  // namespace lockstep::data::detail
