#pragma once
// Whether a dataset file is whole: every element is read, and every byte compared with a manifest.
// Used by the command `data verify`. The caller waits while helper threads read.

#include <cstdint>
#include <string>
#include <vector>

#include "data/manifest.hpp"

namespace lockstep::data {

/// What was found of one column.
struct ColumnCheck {
  enum class State {
    kGood,
    kDamaged,
    kNotRead,  ///< no numbers, or no rows
  };
  std::string name;
  std::string type_name;
  std::int64_t rows = 0;
  std::uint64_t bytes = 0;  ///< of its elements
  State state = State::kGood;
  std::string problem;  ///< of a damaged column: what its first bad rows gave
};

/// Rows [begin, end) of a contiguous dataset that lie in damaged bytes.
struct DamagedRows {
  std::string column;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Bytes [begin, end) of the file that differ from the manifest; as fine as its blocks.
struct DamagedRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::vector<DamagedRows> rows;  ///< where that can be told
};

struct VerifyReport {
  std::string path;
  std::uint64_t file_bytes = 0;
  std::string problem;  ///< why the file cannot be opened, or has another size than its manifest
  std::vector<ColumnCheck> columns;
  std::string manifest;  ///< the path of the one that was compared with; empty = none
  std::vector<DamagedRange> damaged;

  bool is_good() const;
};

struct VerifyOptions {
  std::string manifest{};  ///< to compare with; empty = none
  int threads = 2;
};

/// Damage is told in the report. Throws DataError when the file is missing or the manifest cannot
/// be used.
VerifyReport verify(const std::string& path, const VerifyOptions& options = {});

/// One JSON object on several lines, ending in a newline.
std::string to_json(const VerifyReport& report);

}  // namespace lockstep::data
