#pragma once
// What is in a dataset file, for people and for scripts. Local; any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset_file.hpp"
#include "data/source.hpp"

namespace lockstep::data {

enum class Scan {
  kValues,   ///< reads the file: label counts, smallest and largest input, fingerprint
  kHeaders,  ///< schema only
};

struct InspectOptions {
  std::string inputs = "x";
  std::string targets = "y";
  std::string tokens = "tokens";
  Scan scan = Scan::kValues;
  /// What training keeps of decoded samples, as data.cache_bytes has it by default: layouts that
  /// fit it are no reason for advice.
  std::uint64_t cache_bytes = std::uint64_t{1} << 30;
};

struct FileSummary {
  std::string path;
  std::uint64_t file_bytes = 0;
  std::vector<ColumnInfo> columns;
  std::vector<std::string> access;          ///< how each column is read; `-` where it is not
  std::vector<std::uint64_t> stored_bytes;  ///< of each column
  std::optional<TaskKind> kind;  ///< nothing when the file cannot be trained on, see `advice`
  std::int64_t samples = 0;      ///< tokens: the number of tokens
  std::int64_t classes = 0;
  std::vector<std::int64_t> label_counts;  ///< [classes], at most 65,536 of them
  std::optional<double> smallest_input;
  std::optional<double> largest_input;
  std::string fingerprint;
  std::vector<std::string> advice;  ///< what is wrong or slow, and what to do
};

/// Throws DataError when the file cannot be opened; everything else it finds is told in `advice`.
FileSummary inspect(const std::string& path, const InspectOptions& options = {});

/// An aligned table and a few lines, ending in a newline.
std::string to_text(const FileSummary& summary);
/// One JSON object on several lines, ending in a newline.
std::string to_json(const FileSummary& summary);

}  // namespace lockstep::data
