#include "data/import/csv.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/import/csv_rows.hpp"
#include "data/import/table_import.hpp"

namespace lockstep::data {
namespace {

using detail::Cell;
using detail::ColumnType;
using detail::CsvRows;
using detail::ImportWriter;
using detail::TableColumn;
using detail::TableRow;

constexpr std::uint64_t kRowsBetweenProgress = 4096;

/// A field as what it looks like: an integer, another number (perhaps not finite), nothing, a text.
Cell cell_of(std::string_view text) {
  Cell cell;
  if (text.empty()) return cell;
  // from_chars takes no plus sign.
  const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-';
  const auto digits = text.substr(plus ? 1 : 0);
  const auto* end = digits.data() + digits.size();
  const auto [integer_end, integer_error] = std::from_chars(digits.data(), end, cell.integer);
  if (integer_error == std::errc() && integer_end == end) {
    cell.kind = Cell::Kind::kInteger;
    return cell;
  }
  const auto [number_end, number_error] = std::from_chars(digits.data(), end, cell.number);
  if (number_end == end && number_error == std::errc::result_out_of_range) {
    // Beyond f64: the smallest are 0 to any f32.
    const auto exponent = digits.find_first_of("eE");
    const bool tiny = exponent != std::string_view::npos && digits[exponent + 1] == '-';
    cell.number = tiny ? 0.0 : HUGE_VAL;
    cell.kind = Cell::Kind::kFloat;
    return cell;
  }
  if (number_end == end && number_error == std::errc()) {
    cell.kind = Cell::Kind::kFloat;
    return cell;
  }
  cell.kind = Cell::Kind::kText;
  cell.text = text;
  return cell;
}

bool is_number(std::string_view text) {
  const auto kind = cell_of(text).kind;
  return kind == Cell::Kind::kInteger || kind == Cell::Kind::kFloat;
}

std::vector<std::string> fields_of(const CsvRows& rows) {
  std::vector<std::string> fields;
  for (std::size_t i = 0; i < rows.fields(); ++i) fields.emplace_back(rows.field(i));
  return fields;
}

/// pandas names the columns of an array so.
bool counts_from_zero(const std::vector<std::string>& fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (fields[i] != std::to_string(i)) return false;
  }
  return fields.size() > 1;
}

bool looks_like_header(const std::vector<std::string>& first,
                       const std::vector<std::string>& second) {
  if (std::ranges::none_of(first, [](const auto& text) { return is_number(text); })) return true;
  if (counts_from_zero(first)) return true;
  for (std::size_t i = 0; i < std::min(first.size(), second.size()); ++i) {
    if (cell_of(first[i]).kind == Cell::Kind::kText && is_number(second[i])) return true;
  }
  return false;
}

/// What the cells of a column look like, counted.
struct Profile {
  std::int64_t integers = 0;
  std::int64_t floats = 0;  ///< finite ones that are no integers
  std::int64_t texts = 0;
  std::string example;

  void count(const Cell& cell) {
    switch (cell.kind) {
      case Cell::Kind::kInteger: ++integers; break;
      // NaN is how programs write that a number is missing: it says nothing of the type.
      case Cell::Kind::kFloat: floats += std::isfinite(cell.number) ? 1 : 0; break;
      case Cell::Kind::kText:
        if (texts++ == 0) example = cell.text;
        break;
      default: break;
    }
  }
  ColumnType type() const {
    if (texts > integers + floats) return ColumnType::kText;
    return floats == 0 && integers > 0 ? ColumnType::kInteger : ColumnType::kFloat;
  }
};

const char* name_of_type(ColumnType type) {
  switch (type) {
    case ColumnType::kInteger: return "integer";
    case ColumnType::kText: return "text";
    default: return "float";
  }
}

class CsvReader final : public detail::TableReader {
 public:
  CsvReader(const std::string& path, const ImportCsvOptions& options, const ImportWriter& writer)
      : path_(path), options_(options), source_(path, options.delimiter) {
    read_names();
    infer_types(writer);
  }

  const std::vector<TableColumn>& columns() const override { return columns_; }
  std::int64_t rows() const override { return rows_; }
  const char* place_name() const override { return "line"; }

  void restart(std::span<const std::size_t> wanted) override {
    source_ = CsvRows(path_, options_.delimiter);
    if (has_header_) source_.next();
    wanted_.assign(wanted.begin(), wanted.end());
  }

  bool next(TableRow& row) override {
    if (!source_.next()) return false;
    row.place = source_.line();
    row.cells.clear();
    row.problem = problem_of_row();
    if (!row.problem.empty()) return true;
    for (const auto number : wanted_) {
      const auto text = source_.field(number);
      auto cell = cell_of(text);
      if (columns_[number].type == ColumnType::kText && !text.empty()) {
        cell.kind = Cell::Kind::kText;
        cell.text = text;
      }
      row.cells.push_back(cell);
    }
    return true;
  }

 private:
  std::string problem_of_row() const {
    if (source_.fields() == columns_.size()) return {};
    return "has " + std::to_string(source_.fields()) +
           (source_.fields() == 1 ? " field, not " : " fields, not ") +
           std::to_string(columns_.size());
  }

  void read_names() {
    if (!source_.next()) {
      throw base::DataError("CSV file " + base::quote(path_) +
                            " is empty (a dataset has at least one row); give another file");
    }
    const auto first = fields_of(source_);
    const auto second = source_.next() ? fields_of(source_) : std::vector<std::string>();
    has_header_ = options_.header == CsvHeader::kYes ||
                  (options_.header == CsvHeader::kDetect && looks_like_header(first, second));
    for (std::size_t i = 0; i < first.size(); ++i) {
      columns_.push_back({.name = has_header_ ? first[i] : std::to_string(i + 1)});
    }
    if (has_header_) check_names();
  }

  void check_names() const {
    std::vector<std::string> names;
    for (const auto& column : columns_) {
      if (!column.name.empty()) names.push_back(column.name);
    }
    std::ranges::sort(names);
    const auto twice = std::ranges::adjacent_find(names);
    if (twice == names.end()) return;
    throw base::DataError("CSV file " + base::quote(path_) + " has two columns named " +
                          base::quote(*twice) +
                          " (line 1; columns are told apart by their names); rename one, or give "
                          "--header no if line 1 holds values");
  }

  void infer_types(const ImportWriter& writer) {
    restart({});
    std::vector<Profile> profiles(columns_.size());
    while (source_.next()) {
      if (rows_ % static_cast<std::int64_t>(kRowsBetweenProgress) == 0) {
        writer.progress("reading types", source_.stored_offset(), source_.stored_bytes());
      }
      ++rows_;
      if (!problem_of_row().empty()) continue;
      for (std::size_t i = 0; i < profiles.size(); ++i) {
        profiles[i].count(cell_of(source_.field(i)));
      }
    }
    for (std::size_t i = 0; i < profiles.size(); ++i) {
      columns_[i].type = profiles[i].type();
      columns_[i].type_name = name_of_type(columns_[i].type);
      columns_[i].example = std::move(profiles[i].example);
    }
  }

  std::string path_;
  const ImportCsvOptions& options_;
  CsvRows source_;
  bool has_header_ = false;
  std::vector<TableColumn> columns_;
  std::int64_t rows_ = 0;
  std::vector<std::size_t> wanted_;
};

}  // namespace

ImportResult import_csv(const std::string& path, const ImportOutput& output,
                        const ImportCsvOptions& options) {
  if (options.delimiter == '"' || options.delimiter == '\n' || options.delimiter == '\r') {
    throw base::ConfigError(
        "the delimiter is a quote or the end of a line (both have their own meaning in a CSV "
        "file); give another --delimiter");
  }
  ImportWriter writer(output, "csv", std::array{path});
  CsvReader reader(path, options, writer);
  return detail::import_table(reader, path, writer, options.table);
}

}  // namespace lockstep::data
