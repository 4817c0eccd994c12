#pragma once
// Decodes bands of a chunked dataset, a band being the rows of one row of the grid of chunks.
// Internal to data/; one thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/chunk_index.hpp"
#include "data/filters.hpp"
#include "data/mapped_file.hpp"
#include "data/stored_column.hpp"

namespace lockstep::data::detail {

class ChunkDecoder {
 public:
  /// `mapped` must outlive it; `what` names the column in messages.
  ChunkDecoder(const MappedFile& mapped, const StoredColumn& column, ChunkIndex index,
               std::string what);

  /// Another one of the same chunks, for another thread.
  ChunkDecoder twin() const { return {mapped_, column_, index_, what_}; }

  std::int64_t rows_of(std::int64_t band) const;

  /// Rows of the band, packed and in native byte order; `out` is exactly as large. Throws DataError
  /// naming the row where a chunk is damaged.
  void decode(std::int64_t band, std::span<std::byte> out);

  /// Where the rows of a band lie in the file just as they are wanted; nullptr for a band that was
  /// never written. Only for `has_plain_bands`.
  const std::byte* plain_band(std::int64_t band) const;
  /// Chunks without filters, as wide as a row.
  bool has_plain_bands() const { return plain_; }
  /// A row of fill values, native.
  std::span<const std::byte> fill_row() const { return fill_row_; }

 private:
  using Corner = std::vector<std::int64_t>;

  void decode_stored(std::int64_t band, std::span<std::byte> out);
  std::span<const std::byte> stored_bytes(const ChunkPlace& place) const;
  void copy_part(std::span<const std::byte> chunk, const Corner& corner, std::int64_t band_begin,
                 std::span<std::byte> out) const;
  void fill_part(std::span<std::byte> out) const;
  [[noreturn]] void refuse(std::int64_t row, const std::string& problem) const;

  const MappedFile& mapped_;
  StoredColumn column_;
  ChunkIndex index_;
  std::string what_;
  std::vector<std::int64_t> grid_;
  std::size_t chunks_of_band_ = 1;
  std::size_t chunk_bytes_ = 0;
  std::size_t stored_row_bytes_ = 0;
  bool full_width_ = true;  ///< a chunk holds whole rows
  bool plain_ = false;
  FilterPipeline filters_;
  std::vector<std::byte> fill_row_;
  std::vector<std::byte> chunk_;   ///< one decoded chunk
  std::vector<std::byte> stored_;  ///< a band before it is converted
};

}  // namespace lockstep::data::detail
