#pragma once
// Where the elements of contiguous datasets lie in a file. Internal to data/.

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset_file.hpp"

namespace lockstep::data::detail {

struct ColumnPlace {
  std::string name;
  std::uint64_t begin;  ///< byte of the file
  std::uint64_t row_bytes;
  std::uint64_t rows;
};

/// Of those of `columns` that are stored in one run. Empty when the file cannot be opened.
std::vector<ColumnPlace> column_places(const std::string& path,
                                       const std::vector<ColumnInfo>& columns);

}  // namespace lockstep::data::detail
