#pragma once
// Reads whole rows of one dataset. Internal to data/; belongs to one DatasetFile and its thread.
//
// Rows that lie in the file as they are wanted (contiguous, unfiltered, native type) are read with
// pread, past HDF5; small columns once, as a whole. Everything else is decoded by HDF5 in bands of
// rows, a chunk high, and the newest bands are kept.

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/dataset_file.hpp"
#include "data/file_descriptor.hpp"
#include "data/hdf5_library.hpp"

namespace lockstep::data::detail {

class ColumnReader {
 public:
  /// `file` must outlive the reader. Throws DataError when the column's elements are not numbers or
  /// lie beyond the end of the file.
  ColumnReader(Hdf5Id hdf5_file, const std::string& path, const FileDescriptor& file,
               const ColumnInfo& info, const DatasetFileOptions& options);

  bool is_direct() const { return direct_offset_.has_value(); }
  void read(std::int64_t begin, std::int64_t count, std::span<std::byte> out);
  void gather(std::span<const std::int64_t> rows, std::span<std::byte> out);

 private:
  /// Consecutive rows of the file that also go to consecutive places.
  struct Run {
    std::int64_t row;
    std::int64_t place;
    std::int64_t count;
  };

  std::optional<std::uint64_t> find_direct_offset(std::uint64_t file_bytes) const;
  void gather_from_memory(std::span<const std::int64_t> rows, std::span<std::byte> out);
  void require_row(std::int64_t row) const;
  void plan_runs(std::span<const std::int64_t> rows);
  void read_run(const Run& run, std::span<std::byte> out);
  void decode(std::int64_t begin, std::int64_t count, std::span<std::byte> out);
  std::span<const std::byte> band(std::int64_t index);
  std::string described() const;

  struct Band {
    std::int64_t index;
    std::vector<std::byte> bytes;
  };

  std::string path_;
  const FileDescriptor& file_;
  ColumnInfo info_;
  std::size_t row_bytes_;
  Hdf5Handle dataset_;
  std::optional<std::uint64_t> direct_offset_;
  std::size_t whole_bytes_;
  std::vector<std::byte> whole_;  ///< all rows of a small direct column, once they were gathered

  std::int64_t band_rows_ = 1;
  std::size_t most_bands_ = 1;
  std::list<Band> bands_;  ///< newest first
  std::unordered_map<std::int64_t, std::list<Band>::iterator> band_of_;

  std::vector<std::pair<std::int64_t, std::int64_t>> row_and_place_;
  std::vector<Run> runs_;
};

}  // namespace lockstep::data::detail
