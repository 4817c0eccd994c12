#pragma once
// How one column lies in its file: elements, chunks, filters, fill value. Internal to data/; plain
// values once made.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/dataset_file.hpp"
#include "data/hdf5_library.hpp"

namespace lockstep::data::detail {

/// One element of the HDF5 dataset, and the values of the column in it.
struct StoredElement {
  std::size_t bytes = 0;   ///< of the whole element; a compound's is larger than the column's part
  std::size_t offset = 0;  ///< of the column's values in it
  DType dtype = DType::kUnsupported;
  std::size_t values = 1;  ///< neighbouring values of an array type
  bool swapped = false;    ///< their byte order is not this machine's

  std::size_t value_bytes() const { return values * size_of(dtype); }
  bool is_native() const { return bytes == value_bytes() && !swapped; }
  /// Values of `count` stored elements in native order. `out`: count * value_bytes().
  void extract(std::span<const std::byte> stored, std::span<std::byte> out) const;
};

struct StoredFilter {
  int id = 0;  ///< as registered with The HDF Group
  std::vector<unsigned> parameters;
};

enum class Storage {
  kContiguous,
  kChunked,
  kForeign,  ///< only HDF5 itself reads it
};

struct StoredColumn {
  StoredElement element;
  Storage storage = Storage::kForeign;
  std::string why_foreign;            ///< for people: `virtual`, `filter szip`, ...
  std::uint64_t offset = 0;           ///< contiguous: of the first element in the file
  std::vector<std::int64_t> extent;   ///< of the HDF5 dataset, in elements
  std::vector<std::int64_t> chunk;    ///< chunked: its lengths
  std::vector<StoredFilter> filters;  ///< in the order of writing
  std::vector<std::byte> fill;        ///< [element.bytes], as stored
};

/// Describes the open `dataset` for `column`. Throws DataError when its header is damaged or its
/// elements lie beyond the end of the file. Needs the Hdf5Lock.
StoredColumn describe_storage(Hdf5Id dataset, const ColumnInfo& column, const std::string& what,
                              std::uint64_t file_bytes);

}  // namespace lockstep::data::detail
