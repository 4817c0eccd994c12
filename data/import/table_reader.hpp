#pragma once
// A table read row by row, whatever its format: what import_table needs of CSV and Parquet files.
// Internal to data/import; header alone, since the Parquet module implements it too. One thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::data::detail {

enum class ColumnType {
  kInteger,
  kFloat,
  kText,
  kOther,  ///< nothing that a model reads: dates, structures, ...
};

struct TableColumn {
  std::string name{};  ///< may be empty
  ColumnType type = ColumnType::kFloat;
  std::string type_name{};  ///< for people
  std::int64_t width = 1;   ///< numbers in a cell; more than 1 for lists of floats
  bool is_list = false;
  std::string example{};  ///< one of its texts
};

struct Cell {
  enum class Kind { kInteger, kFloat, kText, kList, kMissing };
  Kind kind = Kind::kMissing;
  std::int64_t integer = 0;
  double number = 0;
  std::string_view text{};        ///< kText: good until the next row
  std::span<const float> list{};  ///< kList: good until the next row
};

struct TableRow {
  std::uint64_t place = 0;    ///< line or row number, from 1
  std::string problem{};      ///< of the row as a whole; then there are no cells
  std::vector<Cell> cells{};  ///< of the wanted columns, in their order
};

class TableReader {
 public:
  virtual ~TableReader() = default;

  virtual const std::vector<TableColumn>& columns() const = 0;
  /// All rows, bad ones too.
  virtual std::int64_t rows() const = 0;
  /// What `TableRow::place` counts: `line` or `row`.
  virtual const char* place_name() const = 0;
  /// The next call of `next` gives the first row, with the cells of the columns numbered `wanted`.
  virtual void restart(std::span<const std::size_t> wanted) = 0;
  /// False at the end. Throws DataError when the file is damaged.
  virtual bool next(TableRow& row) = 0;
};

}  // namespace lockstep::data::detail
