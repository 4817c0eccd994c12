#pragma once
// From a table to a dataset file: which columns are what, how texts are numbered, which rows are
// bad. The same for every table format. Internal to data/import. One thread.

#include <string>

#include "data/import/import_writer.hpp"
#include "data/import/table_options.hpp"
#include "data/import/table_reader.hpp"

namespace lockstep::data::detail {

/// Writes `x` f32 [rows, features] and `y` [rows] (i64 classes or f32 values), and the attributes
/// `features`, `categories`, `classes` and `skipped` where there are any. `file` names the table in
/// messages. Throws ConfigError for columns that do not exist, DataError for rows and columns that
/// cannot be used.
ImportResult import_table(TableReader& reader, const std::string& file, ImportWriter& writer,
                          const TableOptions& options);

}  // namespace lockstep::data::detail
