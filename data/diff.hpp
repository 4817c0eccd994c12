#pragma once
// How two dataset files differ: in schema, in size, and in how their values are distributed. Used
// by the command `data diff`. The caller waits while helper threads read.
//
// Distributions are compared over all elements of a column, NaN counting as one value above all
// others. Columns of up to 16 bits an element, and those of at most `exact_elements` in either
// file, are compared exactly; larger ones at the 65,536 places that the leading 16 bits of their
// ordered keys tell apart, which can only make differences smaller, by at most `uncertainty`.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lockstep::data {

struct Drift {
  /// Population stability index: sum over bins of (b - a) ln(b / a), where a and b are a bin's
  /// shares of the two columns, at least 1e-4. Bins lie between the ten quantiles of the first
  /// column, equal quantiles making one bin; for classes each value is a bin.
  double psi = 0;
  /// Two-sample Kolmogorov-Smirnov statistic: the largest distance between the two distribution
  /// functions, 0 to 1.
  double ks = 0;
  double uncertainty = 0;  ///< the exact statistic may be this much larger; 0 = it is exact
};

struct ColumnDifference {
  enum class Presence { kBoth, kFirst, kSecond };
  std::string name;
  Presence presence = Presence::kBoth;
  std::string first_schema;  ///< `f32 [28, 28]` of a row; empty when it is not there
  std::string second_schema;
  std::int64_t first_rows = 0;
  std::int64_t second_rows = 0;
  std::optional<Drift> drift;  ///< of columns of one type of numbers that both have elements

  bool same_schema() const { return presence == Presence::kBoth && first_schema == second_schema; }
};

struct FileDifference {
  std::string first;
  std::string second;
  std::vector<ColumnDifference> columns;
  double most_psi = 0;  ///< the thresholds
  double most_ks = 0;

  bool has_drifted(const ColumnDifference& column) const;
  /// Same schemas, and no column above a threshold.
  bool is_good() const;
};

struct DiffOptions {
  double most_psi = 0.2;
  double most_ks = 0.1;
  std::string targets = "y";  ///< classes, when they are integers
  int threads = 2;
  std::int64_t exact_elements = std::int64_t{1} << 24;
};

/// Throws DataError when a file is missing or damaged, ConfigError for impossible thresholds.
FileDifference diff(const std::string& first, const std::string& second,
                    const DiffOptions& options = {});

/// One JSON object on several lines, ending in a newline.
std::string to_json(const FileDifference& difference);

}  // namespace lockstep::data
