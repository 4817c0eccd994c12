#pragma once
// A CSV file as rows of text fields with their line numbers. Internal to data/import; csv.h stays
// in the source. One thread.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace lockstep::data::detail {

class CsvRows {
 public:
  /// Throws DataError when the file cannot be opened.
  CsvRows(const std::string& path, char delimiter);
  ~CsvRows();
  CsvRows(CsvRows&&) noexcept;
  CsvRows& operator=(CsvRows&&) noexcept;

  /// The next row that is not blank; false at the end. Throws DataError with the line where a quote
  /// is out of place, or a row or field is too large to be meant.
  bool next();
  /// Of the row read last.
  std::size_t fields() const;
  /// Without its quotes, or without the blanks around it. Good until the next row.
  std::string_view field(std::size_t index) const;
  std::uint64_t line() const;
  /// Bytes of the file as it is stored, and how many of them have been read.
  std::uint64_t stored_bytes() const;
  std::uint64_t stored_offset() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lockstep::data::detail
