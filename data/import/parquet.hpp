#pragma once
// Import of Parquet files. Apache Arrow reads them, and it is no part of this library: it is loaded
// when the first Parquet file is opened. Local; any thread.

#include <string>

#include "data/import/import.hpp"
#include "data/import/table_options.hpp"

namespace lockstep::data {

/// As import_csv, for the columns of the Parquet file `path`: integers and bool, floats, texts
/// (plain or dictionary); lists of floats of one length make that many inputs. Nulls make a row
/// bad; messages count rows from 1. Throws EnvironmentError when Lockstep was built without Arrow.
ImportResult import_parquet(const std::string& path, const ImportOutput& output,
                            const TableOptions& options = {});

}  // namespace lockstep::data
