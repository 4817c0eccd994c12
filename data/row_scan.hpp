#pragma once
// A whole column read front to back in blocks of rows. Internal to data/; one thread. Where several
// threads read, RowBlocks does it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset_file.hpp"

namespace lockstep::data::detail {

/// Calls `use(begin, raw)` for blocks of rows of about `block_bytes`: the first row of the block,
/// and its elements. Throws DataError.
template <class Use>
void for_each_block(DatasetFile& file, const ColumnInfo& column, std::int64_t block_bytes,
                    const Use& use) {
  const auto row_bytes = static_cast<std::int64_t>(column.row_bytes());
  const auto most = std::max<std::int64_t>(1, block_bytes / std::max<std::int64_t>(1, row_bytes));
  std::vector<std::byte> raw;
  for (std::int64_t begin = 0; begin < column.rows(); begin += most) {
    const auto count = std::min(most, column.rows() - begin);
    raw.resize(static_cast<std::size_t>(count * row_bytes));
    file.read_rows(column.name, begin, count, raw);
    use(begin, std::span<const std::byte>(raw));
  }
}

}  // namespace lockstep::data::detail
