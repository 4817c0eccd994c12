#include "data/import/parquet_module.hpp"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <arrow/util/float16.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <new>
#include <numeric>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::data::detail {
namespace {

constexpr std::int64_t kBatchRows = 4096;
/// Column chunks are read through buffers of this size and not as a whole.
constexpr std::int64_t kBufferBytes = std::int64_t{1} << 20;
constexpr std::int64_t kMostWidth = 1 << 24;

bool is_text(const arrow::DataType& type) {
  if (type.id() == arrow::Type::DICTIONARY) {
    return is_text(*static_cast<const arrow::DictionaryType&>(type).value_type());
  }
  return type.id() == arrow::Type::STRING || type.id() == arrow::Type::LARGE_STRING;
}

bool is_list(const arrow::DataType& type) {
  return type.id() == arrow::Type::LIST || type.id() == arrow::Type::LARGE_LIST ||
         type.id() == arrow::Type::FIXED_SIZE_LIST;
}

ColumnType column_type_of(const arrow::DataType& type) {
  if (is_text(type)) return ColumnType::kText;
  if (arrow::is_integer(type.id()) || type.id() == arrow::Type::BOOL) return ColumnType::kInteger;
  if (arrow::is_floating(type.id())) return ColumnType::kFloat;
  if (is_list(type)) {
    const auto& values = *static_cast<const arrow::BaseListType&>(type).value_type();
    if (arrow::is_integer(values.id()) || arrow::is_floating(values.id())) {
      return ColumnType::kFloat;
    }
  }
  return ColumnType::kOther;
}

/// The leaves of the file that make up one column of the table.
void add_leaves(const parquet::arrow::SchemaField& field, std::vector<int>& leaves) {
  if (field.is_leaf()) leaves.push_back(field.column_index);
  for (const auto& child : field.children) add_leaves(child, leaves);
}

/// The number in a row of an array of numbers; NaN where it is null.
double number_at(const arrow::Array& array, std::int64_t row) {
  using arrow::Type;
  if (array.IsNull(row)) return std::numeric_limits<double>::quiet_NaN();
  const auto value = [&]<class Array>() {
    return static_cast<double>(static_cast<const Array&>(array).Value(row));
  };
  switch (array.type_id()) {
    case Type::INT8: return value.operator()<arrow::Int8Array>();
    case Type::INT16: return value.operator()<arrow::Int16Array>();
    case Type::INT32: return value.operator()<arrow::Int32Array>();
    case Type::INT64: return value.operator()<arrow::Int64Array>();
    case Type::UINT8: return value.operator()<arrow::UInt8Array>();
    case Type::UINT16: return value.operator()<arrow::UInt16Array>();
    case Type::UINT32: return value.operator()<arrow::UInt32Array>();
    case Type::UINT64: return value.operator()<arrow::UInt64Array>();
    case Type::FLOAT: return value.operator()<arrow::FloatArray>();
    case Type::DOUBLE: return value.operator()<arrow::DoubleArray>();
    case Type::HALF_FLOAT: {
      const auto bits = static_cast<const arrow::HalfFloatArray&>(array).Value(row);
      return arrow::util::Float16::FromBits(bits).ToDouble();
    }
    default: throw base::InternalError("a Parquet cell is no number; report this bug");
  }
}

Cell integer_cell(std::int64_t value) {
  Cell cell;
  cell.kind = Cell::Kind::kInteger;
  cell.integer = value;
  return cell;
}

Cell number_cell(double value) {
  Cell cell;
  cell.kind = Cell::Kind::kFloat;
  cell.number = value;
  return cell;
}

Cell text_cell(std::string_view text) {
  Cell cell;
  cell.kind = Cell::Kind::kText;
  cell.text = text;
  return cell;
}

/// Where the numbers of a list lie in its array of values.
struct Extent {
  std::shared_ptr<arrow::Array> values;
  std::int64_t begin;
  std::int64_t length;
};

template <class Array>
Extent extent_in(const arrow::Array& array, std::int64_t row) {
  const auto& list = static_cast<const Array&>(array);
  return {list.values(), list.value_offset(row), list.value_length(row)};
}

Cell list_cell(const arrow::Array& array, std::int64_t row, std::vector<float>& numbers) {
  const auto extent = array.type_id() == arrow::Type::LIST ? extent_in<arrow::ListArray>(array, row)
                      : array.type_id() == arrow::Type::LARGE_LIST
                          ? extent_in<arrow::LargeListArray>(array, row)
                          : extent_in<arrow::FixedSizeListArray>(array, row);
  numbers.clear();
  for (std::int64_t i = 0; i < extent.length; ++i) {
    numbers.push_back(static_cast<float>(number_at(*extent.values, extent.begin + i)));
  }
  Cell cell;
  cell.kind = Cell::Kind::kList;
  cell.list = numbers;
  return cell;
}

/// `numbers` holds the numbers of a list until the next row.
Cell cell_at(const arrow::Array& array, std::int64_t row, std::vector<float>& numbers) {
  using arrow::Type;
  if (array.IsNull(row)) return {};
  switch (array.type_id()) {
    case Type::STRING: return text_cell(static_cast<const arrow::StringArray&>(array).GetView(row));
    case Type::LARGE_STRING:
      return text_cell(static_cast<const arrow::LargeStringArray&>(array).GetView(row));
    case Type::DICTIONARY: {
      const auto& coded = static_cast<const arrow::DictionaryArray&>(array);
      return cell_at(*coded.dictionary(), coded.GetValueIndex(row), numbers);
    }
    case Type::BOOL:
      return integer_cell(static_cast<const arrow::BooleanArray&>(array).Value(row) ? 1 : 0);
    case Type::INT64: return integer_cell(static_cast<const arrow::Int64Array&>(array).Value(row));
    case Type::UINT64: {
      const auto value = static_cast<const arrow::UInt64Array&>(array).Value(row);
      const bool fits = value <= static_cast<std::uint64_t>(INT64_MAX);
      return fits ? integer_cell(static_cast<std::int64_t>(value))
                  : number_cell(static_cast<double>(value));
    }
    case Type::LIST:
    case Type::LARGE_LIST:
    case Type::FIXED_SIZE_LIST: return list_cell(array, row, numbers);
    default: break;
  }
  // A double holds every integer of 32 bits.
  const auto number = number_at(array, row);
  return arrow::is_integer(array.type_id()) ? integer_cell(static_cast<std::int64_t>(number))
                                            : number_cell(number);
}

class ParquetReader final : public TableReader {
 public:
  explicit ParquetReader(const char* path) : path_(path) {
    guarded([&] {
      open();
      describe_columns();
    });
  }

  const std::vector<TableColumn>& columns() const override { return columns_; }
  std::int64_t rows() const override { return rows_; }
  const char* place_name() const override { return "row"; }

  void restart(std::span<const std::size_t> wanted) override {
    guarded([&] { start(wanted); });
  }
  bool next(TableRow& row) override {
    bool more = false;
    guarded([&] { more = read_next(row); });
    return more;
  }

 private:
  /// Runs `use` and makes what Arrow throws or returns a DataError.
  template <class Use>
  void guarded(const Use& use) const {
    try {
      use();
    } catch (const base::Error&) {
      throw;
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& error) {
      refuse(error.what());
    }
  }
  [[noreturn]] void refuse(std::string reason) const {
    std::ranges::replace(reason, '\n', ' ');
    throw base::DataError("Parquet file " + base::quote(path_) + " cannot be read (" + reason +
                          "); write it again, or fetch it again");
  }
  void check(const arrow::Status& status) const {
    if (!status.ok()) refuse(status.ToString());
  }
  template <class T>
  T checked(arrow::Result<T> result) const {
    check(result.status());
    return std::move(result).ValueUnsafe();
  }

  void open() {
    parquet::ReaderProperties properties;
    properties.enable_buffered_stream();
    properties.set_buffer_size(kBufferBytes);
    parquet::ArrowReaderProperties arrow_properties;
    arrow_properties.set_use_threads(false);
    arrow_properties.set_pre_buffer(false);
    arrow_properties.set_batch_size(kBatchRows);
    parquet::arrow::FileReaderBuilder builder;
    check(builder.Open(checked(arrow::io::ReadableFile::Open(path_)), properties));
    builder.properties(arrow_properties);
    reader_ = checked(builder.Build());
    rows_ = reader_->parquet_reader()->metadata()->num_rows();
    if (rows_ < 0) refuse("it claims a negative number of rows");
    groups_.resize(static_cast<std::size_t>(reader_->num_row_groups()));
    std::iota(groups_.begin(), groups_.end(), 0);
  }

  void describe_columns() {
    for (const auto& field : reader_->manifest().schema_fields) {
      const auto& type = *field.field->type();
      TableColumn column;
      // pandas stores an index under such a name: no column of the table.
      if (!field.field->name().starts_with("__index_level_")) column.name = field.field->name();
      column.type = column_type_of(type);
      column.type_name = type.ToString();
      column.is_list = is_list(type);
      columns_.push_back(std::move(column));
    }
    if (columns_.empty()) refuse("it has no columns");
    for (std::size_t i = 0; i < columns_.size(); ++i) look_at_first(i);
  }

  /// An example of a text, the length of a list.
  void look_at_first(std::size_t number) {
    auto& column = columns_[number];
    if (column.type == ColumnType::kOther) return;
    if (column.type != ColumnType::kText && !column.is_list) return;
    start(std::array{number});
    TableRow row;
    while (read_next(row)) {
      const auto& cell = row.cells.front();
      if (cell.kind == Cell::Kind::kMissing) continue;
      column.example = cell.text;
      if (!column.is_list) return;
      const auto width = static_cast<std::int64_t>(cell.list.size());
      if (width < 1 || width > kMostWidth) {
        refuse("a list in column " + base::quote(column.name) + " has " + std::to_string(width) +
               " numbers");
      }
      column.width = width;
      return;
    }
  }

  void start(std::span<const std::size_t> wanted) {
    std::vector<std::size_t> sorted(wanted.begin(), wanted.end());
    std::ranges::sort(sorted);
    std::vector<int> leaves;
    for (const auto number : sorted) add_leaves(reader_->manifest().schema_fields[number], leaves);
    // Batches have the columns in the file's order.
    places_.clear();
    for (const auto number : wanted) {
      places_.push_back(
          static_cast<int>(std::ranges::lower_bound(sorted, number) - sorted.begin()));
    }
    batches_ = checked(reader_->GetRecordBatchReader(groups_, leaves));
    batch_.reset();
    row_in_batch_ = 0;
    place_ = 0;
    numbers_.resize(wanted.size());
  }

  bool read_next(TableRow& row) {
    while (batch_ == nullptr || row_in_batch_ == batch_->num_rows()) {
      batch_ = checked(batches_->Next());
      row_in_batch_ = 0;
      if (batch_ == nullptr) return false;
      // In damaged files offsets of texts and numbers of dictionaries may lead anywhere.
      check(batch_->ValidateFull());
    }
    row.place = ++place_;
    row.problem.clear();
    row.cells.clear();
    for (std::size_t i = 0; i < places_.size(); ++i) {
      row.cells.push_back(cell_at(*batch_->column(places_[i]), row_in_batch_, numbers_[i]));
    }
    ++row_in_batch_;
    return true;
  }

  std::string path_;
  std::unique_ptr<parquet::arrow::FileReader> reader_;
  std::vector<int> groups_;
  std::int64_t rows_ = 0;
  std::vector<TableColumn> columns_;

  std::unique_ptr<arrow::RecordBatchReader> batches_;
  std::shared_ptr<arrow::RecordBatch> batch_;
  std::int64_t row_in_batch_ = 0;
  std::uint64_t place_ = 0;
  std::vector<int> places_;                  ///< of each wanted column in a batch
  std::vector<std::vector<float>> numbers_;  ///< of the lists in the row read last
};

}  // namespace
}  // namespace lockstep::data::detail

extern "C" __attribute__((visibility("default"))) lockstep::data::detail::TableReader*
lockstep_open_parquet(const char* path) {
  return new lockstep::data::detail::ParquetReader(path);
}
