#pragma once
// Where each chunk of a dataset lies in its file. Internal to data/. Learned through HDF5 once,
// then kept in a file of its own in a cache folder, because a large dataset has millions of chunks.

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/file_descriptor.hpp"
#include "data/hdf5_library.hpp"
#include "data/stored_column.hpp"

namespace lockstep::data::detail {

struct ChunkPlace {
  std::uint64_t offset = 0;  ///< from the start of the file
  std::uint32_t bytes = 0;   ///< as stored; 0 = never written, so all of it is the fill value
  std::uint32_t mask = 0;    ///< filters that were left out

  bool operator==(const ChunkPlace&) const = default;
};

/// In row-major order of the grid of chunks.
using ChunkIndex = std::vector<ChunkPlace>;

/// Chunks along each dimension.
std::vector<std::int64_t> chunk_grid(const StoredColumn& column);

/// Chunks of the whole grid.
std::size_t chunk_count(const StoredColumn& column);

/// Asks HDF5 for every chunk. Throws DataError when one lies beyond the end of the file. Needs the
/// Hdf5Lock.
ChunkIndex read_chunk_index(Hdf5Id file, Hdf5Id dataset, const StoredColumn& column,
                            const std::string& what, std::uint64_t file_bytes);

/// Remembers chunk indexes in a folder. A missing, stale or damaged entry is as good as none, and
/// nothing here ever throws for the state of the folder.
class ChunkIndexCache {
 public:
  /// `folder` is made when it is needed; empty = nothing is kept. Files that changed less than
  /// `settled` ago are not remembered: they could change again without a change of their times.
  explicit ChunkIndexCache(std::string folder,
                           std::chrono::seconds settled = std::chrono::seconds(2))
      : folder_(std::move(folder)), settled_(settled) {}

  std::optional<ChunkIndex> find(const FileDescriptor& file, const std::string& dataset,
                                 std::size_t chunks) const;
  void keep(const FileDescriptor& file, const std::string& dataset,
            std::span<const ChunkPlace> index) const;

 private:
  std::string folder_;
  std::chrono::seconds settled_;
};

}  // namespace lockstep::data::detail
