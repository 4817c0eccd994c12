#pragma once
// An HDF5 file opened for reading: its datasets ("columns") and fast reads of whole rows.
// Used by SampleSource, inspect and the tests. One object belongs to one thread at a time; any
// number of objects may work in parallel. HDF5 itself is entered by one thread of the process at
// a time, but once a column is opened, its rows are read without it wherever `access_of` says so.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/dtype.hpp"

namespace lockstep::data {

struct ColumnInfo {
  std::string name;                  ///< of the dataset; a member of a compound adds `.member`
  std::string dataset;               ///< path below the root group, without a leading slash
  std::vector<std::string> members;  ///< path to the member of a compound; else empty
  DType dtype = DType::kUnsupported;
  std::string type_name;             ///< as people read it: `u8`, `big-endian f32`, `string`
  std::vector<std::int64_t> shape;   ///< [rows, ...], with the lengths of an array type
  std::vector<std::int64_t> chunk;   ///< empty when the dataset is not chunked
  std::vector<std::string> filters;  ///< in the order of writing, for example `shuffle`, `deflate`
  std::uint64_t stored_bytes = 0;    ///< bytes in the file; of chunks only the file itself knows
  bool in_other_file = false;        ///< reached through an external link

  std::int64_t rows() const { return shape.empty() ? 0 : shape.front(); }
  /// Elements of one row.
  std::int64_t row_elements() const;
  /// Bytes of one row in `dtype`.
  std::size_t row_bytes() const;
};

/// How the rows of a column are read.
enum class RowAccess {
  kMapped,     ///< where they lie in the file
  kConverted,  ///< the same, then each row is put into native form
  kDecoded,    ///< chunks are decoded here and kept
  kHdf5,       ///< by HDF5, and kept
};

/// Takes the row wanted at `place`; must not throw.
using UseRow = std::function<void(std::size_t place, const std::byte* row)>;

/// Brings rows into memory that are soon read from there. Belongs to one thread.
using BringRows = std::function<void(std::span<const std::int64_t> rows)>;

/// Rows of equal length one after the other: row i at first + i * stride.
struct RowPlaces {
  const std::byte* first;
  std::size_t stride;

  const std::byte* of(std::int64_t row) const {
    return first + static_cast<std::size_t>(row) * stride;
  }
};

struct DatasetFileOptions {
  /// Decoded rows kept a column, unless `share_cache` gives it other memory.
  std::size_t cache_bytes = std::size_t{256} << 20;
  /// Where chunk indexes of large datasets are kept between processes; empty = nowhere.
  std::string cache_directory{};
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
  /// The rows numbered `rows`, in that order (any order, repeats allowed).
  void read_rows(const std::string& column, std::span<const std::int64_t> rows,
                 std::span<std::byte> out);
  /// The same without a copy: calls `use` once for each place in `rows`, in any order. The row is
  /// valid during the call, native and aligned for its type. It may be trusted once `visit_rows`
  /// has returned: a file that is cut short meanwhile gives zeros, then a DataError.
  void visit_rows(const std::string& column, std::span<const std::int64_t> rows, const UseRow& use);
  /// Where a contiguous column lies; trust its rows as `visit_rows` says of mapped ones.
  std::optional<RowPlaces> places_of(const std::string& column);
  /// Brings rows into memory that `visit_rows` will soon be asked for: decodes them into this
  /// object's cache, or asks for their pages. For one other thread, while this object lives and
  /// after `share_cache`. Throws DataError. Empty where HDF5 reads the rows, and where a
  /// sample of them is in memory as it is wanted.
  BringRows ahead(const std::string& column);
  /// The strings of rows [begin, begin + count) of a column `[rows]` of fixed or variable strings.
  std::vector<std::string> read_strings(const std::string& column, std::int64_t begin,
                                        std::int64_t count);

  /// Bytes that the elements of the column's dataset take in the file. Goes through all its chunks.
  std::uint64_t stored_bytes(const std::string& column) const;

  RowAccess access_of(const std::string& column) const;
  /// For people: `mapped`, `decoded`, `HDF5 (virtual)`, ...
  std::string access_text(const std::string& column) const;

  /// Bytes that all decoded rows of a column take in a cache; 0 where nothing is decoded.
  std::size_t whole_cache_bytes(const std::string& column) const;
  /// How many of `budget` bytes `share_cache` can use, for an order of rows that stays among
  /// `window_rows` neighbours for a while (0 = it does not).
  std::size_t cache_bytes(const std::string& column, std::size_t budget,
                          std::int64_t window_rows) const;
  /// Keeps decoded rows in `memory` from now on: zeroed, page aligned, of `cache_bytes`. Objects on
  /// the same file, in any process, may share it; each band is then decoded once for all of them.
  void share_cache(const std::string& column, std::span<std::byte> memory,
                   std::int64_t window_rows);

  /// HDF5's identifier of the open file. For this folder alone.
  std::int64_t hdf5_id() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lockstep::data
