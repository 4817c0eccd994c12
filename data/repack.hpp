#pragma once
// Rewrites a dataset file with another layout or another order of rows, in bounded memory. Used by
// the command `data repack`. Local; one thread.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset_writer.hpp"

namespace lockstep::data {

struct RepackOptions {
  enum class Check {
    kReadBack,  ///< read the new file and compare before it appears under its name
    kNone,
  };
  std::string output;
  ColumnLayout
      layout{};  ///< of every column; `deflate` without `chunk_rows` takes chunks of 256 KiB
  /// Brings the rows of all columns into the order of this seed's permutation (epoch 0).
  std::optional<std::uint64_t> shuffle_seed{};
  Check check = Check::kReadBack;
};

struct RepackedColumn {
  std::string name;
  std::uint64_t bytes_before = 0;  ///< that the elements take in the file
  std::uint64_t bytes_after = 0;
};

struct RepackResult {
  std::vector<RepackedColumn> columns;
  std::uint64_t file_bytes_before = 0;
  std::uint64_t file_bytes_after = 0;
  std::vector<std::string> notes;  ///< what was left out, and why
};

/// Elements are native little endian afterwards; attributes of the file and of what is carried
/// are carried too. Throws
/// DataError when the input is damaged or its columns have different lengths and are to be
/// shuffled, ConfigError for impossible options, IoError when the output cannot be written or does
/// not read back as it was written. No output is left then.
RepackResult repack(const std::string& path, const RepackOptions& options);

}  // namespace lockstep::data
