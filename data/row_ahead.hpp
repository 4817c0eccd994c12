#pragma once
// Brings rows of one column into memory before they are read: their chunks are decoded into the
// cache of the column's reader, their pages are asked for where the page cache lacks them. Internal
// to data/. One thread, which may be another than the reader's; reader and file outlive it.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "data/band_cache.hpp"
#include "data/chunk_decoder.hpp"
#include "data/mapped_file.hpp"

namespace lockstep::data::detail {

/// Decodes bands that have a place in the cache and are not there yet.
class DecodeAhead {
 public:
  DecodeAhead(ChunkDecoder decoder, BandCache cache, std::int64_t band_rows, std::size_t row_bytes)
      : decoder_(std::move(decoder)), cache_(cache), band_rows_(band_rows), row_bytes_(row_bytes) {}

  /// Throws DataError for a damaged chunk.
  void operator()(std::span<const std::int64_t> rows);

 private:
  ChunkDecoder decoder_;
  BandCache cache_;
  std::int64_t band_rows_;
  std::size_t row_bytes_;
  std::vector<std::int64_t> bands_;
};

/// Asks for the pages of rows in the order of the file, when a sample of them is not in memory.
class PagesAhead {
 public:
  /// `row(i)`: the stored bytes of a row inside `mapped`, or of none of its pages.
  using RowBytes = std::function<std::span<const std::byte>(std::int64_t row)>;
  PagesAhead(const MappedFile& mapped, RowBytes row) : mapped_(&mapped), row_(std::move(row)) {}

  void operator()(std::span<const std::int64_t> rows);

  /// Rows looked at before pages are asked for: those of a file in memory cost no more than this.
  static constexpr std::int64_t kProbes = 16;
  /// Whether all of some kProbes of the rows are.
  bool in_memory(std::span<const std::int64_t> rows) const;

 private:
  const MappedFile* mapped_;
  RowBytes row_;
  std::vector<std::span<const std::byte>> wanted_;
};

}  // namespace lockstep::data::detail
