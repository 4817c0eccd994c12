#pragma once
// Exact statistics of a dataset file's columns, in a few passes on several threads. Used by the
// command `data stats`. The caller waits while helper threads read; the result is a function of
// the elements alone: not of threads, chunks or filters.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/dtype.hpp"

namespace lockstep::data {

/// Quantiles that are told of each column.
inline constexpr std::array kQuantiles{0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99};

/// How often the elements fall into bins of one width: bin i is [edge i, edge i + 1), the last one
/// with its upper edge; edge i is lerp(low, high, i / bins).
struct Histogram {
  double low = 0;
  double high = 0;
  std::vector<std::int64_t> counts;  ///< [bins]; one bin when all elements are the same
};

struct MeanAndDeviation {
  double mean = 0;
  double deviation = 0;  ///< population standard deviation: divided by the count
};

/// Everything but the counts is of the finite elements alone.
struct ColumnStatistics {
  std::string name;
  DType dtype = DType::kUnsupported;
  std::vector<std::int64_t> shape;  ///< [rows, ...]
  std::int64_t elements = 0;
  std::int64_t nans = 0;
  std::int64_t infinities = 0;
  std::int64_t zeros = 0;
  std::optional<double> smallest;  ///< nothing when no element is finite; so are the next three
  std::optional<double> largest;
  std::optional<MeanAndDeviation> overall;
  std::vector<double> quantiles;  ///< as kQuantiles, between neighbours in proportion; or empty
  Histogram histogram;
  /// Of images [rows, channels, height, width], where there are at most 64 channels.
  std::vector<MeanAndDeviation> channels;
};

struct ClassStatistics {
  std::int64_t label = 0;
  std::int64_t rows = 0;
  /// Of the inputs' finite elements; with StatisticsOptions::PerClass::kInputs alone.
  std::optional<MeanAndDeviation> inputs;
};

struct FileStatistics {
  std::string path;
  std::string fingerprint;  ///< empty when results are not kept
  std::vector<ColumnStatistics> columns;
  std::vector<ClassStatistics> classes;  ///< of integer targets, ascending labels
  std::vector<std::string> notes;        ///< what was left out, and why
};

struct StatisticsOptions {
  enum class PerClass { kCounts, kInputs };

  std::vector<std::string> columns{};  ///< empty = all that can be read
  std::string inputs = "x";
  std::string targets = "y";
  PerClass per_class = PerClass::kCounts;
  std::int64_t bins = 64;         ///< of histograms, 1 to 65,536
  int threads = 2;                ///< that read and count
  std::string cache_directory{};  ///< where results are kept, by fingerprint; empty = nowhere
};

/// Throws DataError when the file is damaged or a named column is missing or cannot be read, and
/// ConfigError for impossible options.
FileStatistics statistics(const std::string& path, const StatisticsOptions& options = {});

/// What `data.mean` and `data.std` of a configuration have to be for inputs of mean 0 and
/// deviation 1: after u8 was divided by 255, one number a channel, or one for inputs without
/// channels. A channel that never changes has deviation 1. Empty without finite elements.
std::vector<MeanAndDeviation> input_scaling_of(const ColumnStatistics& inputs);

/// One JSON object on several lines, ending in a newline.
std::string to_json(const FileStatistics& statistics);

}  // namespace lockstep::data
