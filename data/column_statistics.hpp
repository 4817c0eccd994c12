#pragma once
// The statistics of one column. Internal to data/.

#include "data/moments.hpp"
#include "data/row_blocks.hpp"
#include "data/statistics.hpp"

namespace lockstep::data::detail {

struct CountedColumn {
  ColumnStatistics statistics;
  /// Each value and how often it occurs, ascending: of integers that span less than 65,536.
  std::vector<std::pair<std::int64_t, std::int64_t>> values;
};

CountedColumn count_column(RowBlocks& blocks, const ColumnInfo& column, std::int64_t bins);

/// Elements as doubles, as summary_of wants them. `out` is as long as `in`.
void widen(DType dtype, std::span<const std::byte> in, std::span<double> out);

}  // namespace lockstep::data::detail
