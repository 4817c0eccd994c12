#pragma once
// Import of CSV files (RFC 4180), plain or gzip. Local; any thread.

#include <string>

#include "data/import/import.hpp"
#include "data/import/table_options.hpp"

namespace lockstep::data {

enum class CsvHeader {
  kDetect,  ///< there is one when the first row has no number, a text over a number, or 0, 1, 2,
            ///< ...
  kYes,
  kNo,  ///< columns are named by their numbers, from 1
};

struct ImportCsvOptions {
  TableOptions table{};
  CsvHeader header = CsvHeader::kDetect;
  char delimiter = ',';
};

/// Writes the columns of the CSV file `path` as `x` f32 [rows, features] and `y` [rows]: i64
/// classes where the target holds integers or texts (numbered in sorted order; attribute
/// `classes`), f32 values otherwise. A column's type is what most of its cells are; a cell of
/// another type makes its row bad. Memory is bounded; the file is read twice, and once more to
/// number texts or to leave bad rows out. Throws DataError with file, line and column for what
/// cannot be used.
ImportResult import_csv(const std::string& path, const ImportOutput& output,
                        const ImportCsvOptions& options = {});

}  // namespace lockstep::data
