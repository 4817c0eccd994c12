#pragma once
// An HDF5 file opened for reading: its datasets ("columns") and fast reads of whole rows.
// Used by SampleSource, inspect and the tests. One object belongs to one thread at a time; any
// number of objects may work in parallel. HDF5 itself is entered by one thread of the process at
// a time, but rows of contiguous unfiltered datasets are read without it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dtype.hpp"

namespace lockstep::data {

struct ColumnInfo {
  std::string name;  ///< path below the root group, without a leading slash
  DType dtype = DType::kUnsupported;
  std::string type_name;             ///< as people read it: `u8`, `big-endian f32`, `string`
  std::vector<std::int64_t> shape;   ///< [rows, ...]
  std::vector<std::int64_t> chunk;   ///< empty when the dataset is not chunked
  std::vector<std::string> filters;  ///< in the order of writing, for example `shuffle`, `deflate`
  std::uint64_t stored_bytes = 0;    ///< bytes the elements take in the file

  std::int64_t rows() const { return shape.empty() ? 0 : shape.front(); }
  /// Elements of one row.
  std::int64_t row_elements() const;
  /// Bytes of one row in `dtype`.
  std::size_t row_bytes() const;
};

struct DatasetFileOptions {
  /// Decoded rows kept for datasets that are chunked, filtered or not in native byte order.
  std::size_t cache_bytes = std::size_t{256} << 20;
  /// A contiguous dataset up to this size is read as a whole when rows are first wanted in an order
  /// of their own: a call to the kernel for each row costs more than small rows do.
  std::size_t whole_bytes = std::size_t{32} << 20;
};

class DatasetFile {
 public:
  /// Opens `path` and lists its columns. Throws DataError when it is missing, not HDF5,
  /// truncated, or damaged.
  explicit DatasetFile(const std::string& path, DatasetFileOptions options = {});
  ~DatasetFile();
  DatasetFile(DatasetFile&&) noexcept;
  DatasetFile& operator=(DatasetFile&&) noexcept;

  const std::string& path() const;
  const std::vector<ColumnInfo>& columns() const;
  /// Nothing when there is no such column.
  const ColumnInfo* find_column(const std::string& name) const;
  /// Throws DataError with the nearest name and the list when there is no such column.
  const ColumnInfo& column(const std::string& name) const;

  /// The common length of all numeric columns. Throws DataError naming two whose lengths differ.
  std::int64_t rows() const;
  /// The common length of the columns `names`. Throws DataError naming two whose lengths differ.
  std::int64_t rows(std::span<const std::string> names) const;

  /// Rows [begin, begin + count) in the column's dtype, native byte order. `out` is exactly
  /// count * row_bytes long. Throws DataError when the file is damaged.
  void read_rows(const std::string& column, std::int64_t begin, std::int64_t count,
                 std::span<std::byte> out);
  /// The rows numbered `rows`, in that order (any order, repeats allowed); read sorted by position
  /// in the file.
  void read_rows(const std::string& column, std::span<const std::int64_t> rows,
                 std::span<std::byte> out);

  /// How rows of this column are read, for people: `direct` (past HDF5) or `decoded`.
  std::string access_of(const std::string& column) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lockstep::data
