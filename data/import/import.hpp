#pragma once
// What every import takes and gives: where the dataset file goes, how far the work is, what became
// of the input. Used by the import functions beside it and the commands that call them.
// Plain values; the progress function is called on the thread that imports.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset_writer.hpp"

namespace lockstep::data {

struct ImportProgress {
  std::string_view phase;  ///< what is being done, for example `writing rows`
  std::uint64_t done = 0;  ///< of `total`, in units of the phase's own
  std::uint64_t total = 0;
};

struct ImportOutput {
  std::string path;       ///< HDF5 file to write; an older one is replaced only by a complete one
  ColumnLayout layout{};  ///< of every dataset in it
  /// Called a few times for each MiB of input. What it throws ends the import.
  std::function<void(const ImportProgress&)> progress{};
};

/// What to do with a row or file that cannot be used.
enum class BadInput {
  kRefuse,  ///< throw, with the first ten and how many there are
  kSkip,    ///< leave it out; its number is kept as attribute `skipped`
};

/// A column, array or folder of the input, and what it became.
struct ImportedColumn {
  std::string name;
  std::string type;  ///< as found or inferred
  std::string use;   ///< for example `x[3]`, `y, classes`, `left out`
};

struct ImportResult {
  std::int64_t rows = 0;
  std::uint64_t bytes = 0;            ///< of elements written
  std::vector<std::string> datasets;  ///< for example `x f32 [150, 4]`
  std::vector<ImportedColumn> columns;
  std::vector<std::string> notes;  ///< what a reader should know, each a sentence
};

}  // namespace lockstep::data
