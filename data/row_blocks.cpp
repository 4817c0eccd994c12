#include "data/row_blocks.hpp"

#include <algorithm>

#include "data/parallel.hpp"

namespace lockstep::data::detail {
namespace {

/// Do not change: the bits of means and deviations depend on it. Fits a core's second cache.
constexpr std::int64_t kBlockBytes = std::int64_t{1} << 20;
/// Decoded rows that a thread keeps: enough for neighbouring blocks of one chunk.
constexpr std::size_t kCacheBytes = std::size_t{64} << 20;

}  // namespace

RowBlocks::RowBlocks(const std::string& path, int threads)
    : path_(path), files_(static_cast<std::size_t>(std::max(1, threads))), buffers_(files_.size()) {
  files_.front().emplace(path_, DatasetFileOptions{.cache_bytes = kCacheBytes});
}

void RowBlocks::scan(const ColumnInfo& column, const std::function<void(const RowBlock&)>& use) {
  const auto row_bytes = static_cast<std::int64_t>(column.row_bytes());
  const auto block_rows =
      std::max<std::int64_t>(1, kBlockBytes / std::max<std::int64_t>(1, row_bytes));
  const auto blocks = (column.rows() + block_rows - 1) / block_rows;
  // A chunk is decoded as a whole, so the blocks in it go to one thread.
  const auto chunk_rows = column.chunk.empty() ? 1
                                               : std::min(column.chunk.front(),
                                                          std::max<std::int64_t>(1, column.rows()));
  const auto group = (chunk_rows + block_rows - 1) / block_rows;

  const auto read_block = [&](int worker, std::int64_t index) {
    const auto place = static_cast<std::size_t>(worker);
    auto& file = files_[place];
    if (!file) file.emplace(path_, DatasetFileOptions{.cache_bytes = kCacheBytes});
    const auto begin = index * block_rows;
    const auto count = std::min(block_rows, column.rows() - begin);
    auto& buffer = buffers_[place];
    buffer.resize(static_cast<std::size_t>(count * row_bytes));
    file->read_rows(column.name, begin, count, buffer);
    use({.worker = worker,
         .index = index,
         .begin = begin,
         .count = count,
         .raw = buffer,
         .file = *file});
  };
  for_each_index((blocks + group - 1) / group, threads(), [&](int worker, std::int64_t number) {
    const auto end = std::min(blocks, (number + 1) * group);
    for (auto index = number * group; index < end; ++index) read_block(worker, index);
  });
}

}  // namespace lockstep::data::detail
