#pragma once
// Reads rows of one column, past HDF5 wherever this program knows the storage. Internal to data/;
// belongs to one DatasetFile and its thread.
//
// Rows that lie in the file as they are wanted are handed out where they are mapped. Chunks that
// have to be decoded are decoded in bands, a chunk high, which a BandCache keeps. What the program
// does not know, HDF5 reads.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/band_cache.hpp"
#include "data/chunk_decoder.hpp"
#include "data/dataset_file.hpp"
#include "data/hdf5_library.hpp"
#include "data/hdf5_rows.hpp"
#include "data/mapped_file.hpp"
#include "data/private_memory.hpp"
#include "data/stored_column.hpp"

namespace lockstep::data::detail {

class RowReader {
 public:
  struct Files {
    Hdf5Id hdf5;
    const std::string& path;
    const FileDescriptor& descriptor;
    const MappedFile& mapped;
  };

  /// What `files` names must outlive the reader. Throws DataError when the column's elements are
  /// not numbers or lie beyond the end of the file.
  RowReader(const Files& files, const ColumnInfo& info, const DatasetFileOptions& options);

  RowAccess access() const { return access_; }
  /// Why HDF5 reads it; empty when it does not.
  const std::string& why_foreign() const { return stored_.why_foreign; }

  /// Rows [begin, begin + count), packed.
  void read(std::int64_t begin, std::int64_t count, std::span<std::byte> out);
  /// DatasetFile::visit_rows.
  void visit(std::span<const std::int64_t> rows, const UseRow& use);

  /// DatasetFile::places_of.
  std::optional<RowPlaces> places() const;
  /// Brings rows into memory for this reader, on another thread; as DatasetFile::ahead.
  BringRows ahead();

  /// Bytes that a cache of all decoded rows takes; 0 when nothing is decoded.
  std::size_t whole_cache_bytes() const;
  /// The bytes of `budget` that `share_cache` can make use of.
  std::size_t cache_bytes(std::size_t budget, std::int64_t window_rows) const;
  void share_cache(std::span<std::byte> memory, std::int64_t window_rows);

 private:
  /// Rows wanted of one band.
  struct Wanted {
    std::int64_t band;
    std::int64_t row;
    std::size_t place;

    bool operator<(const Wanted& other) const { return row < other.row; }
  };

  void place_storage(const Files& files, const DatasetFileOptions& options);
  const std::byte* mapped_row(std::int64_t row) const;
  const std::byte* usable(const std::byte* stored_row);
  template <class PlaceOf, class Form>
  void visit_mapped(std::span<const std::int64_t> rows, const PlaceOf& place_of, const Form& form,
                    const UseRow& use);
  void visit_bands(std::span<const std::int64_t> rows, const UseRow& use);
  bool use_band(std::span<const Wanted> wanted, const UseRow& use, bool may_wait);
  std::size_t offset_in_band(std::int64_t row) const;
  void prefetch_cached(std::int64_t row) const;
  void use_rows(std::span<const Wanted> wanted, const std::byte* band, const UseRow& use) const;
  void copy_plain(std::int64_t row, std::span<std::byte> part) const;
  void read_part(std::int64_t band, std::size_t skipped, std::span<std::byte> part);
  void open_cache();
  void fill(std::int64_t band, BandCache::Place& place);
  void decode(std::int64_t band, std::span<std::byte> out);
  const std::byte* private_band(std::int64_t band);
  std::int64_t bands() const;
  std::int64_t rows_of(std::int64_t band) const;
  std::size_t bytes_of(std::int64_t band) const;
  BandCacheShape cache_shape(std::size_t budget, std::int64_t window_rows) const;
  void require_row(std::int64_t row) const;
  std::string described() const;

  const MappedFile& mapped_;
  std::string path_;
  ColumnInfo info_;
  std::size_t row_bytes_;
  std::size_t budget_;
  Hdf5Handle dataset_;
  StoredColumn stored_;
  RowAccess access_ = RowAccess::kHdf5;
  std::optional<ChunkDecoder> decoder_;
  std::optional<Hdf5Rows> through_hdf5_;
  std::size_t stored_row_bytes_ = 0;
  std::vector<std::byte> converted_;  ///< one row

  std::int64_t band_rows_ = 1;
  std::vector<std::byte> private_;  ///< the last band that found no place in the cache
  std::int64_t private_index_ = -1;
  std::optional<PrivateMemory> own_memory_;
  std::optional<BandCache> cache_;
  std::vector<Wanted> wanted_;
  std::vector<std::span<const Wanted>> postponed_;
};

}  // namespace lockstep::data::detail
