#pragma once
// Writes a new dataset file: import, synthesis and predictions use it. The file appears under its
// name only when `commit` returns; until then it is a hidden temporary file beside it.
// One object belongs to one thread. The same calls give the same bytes (no time stamps).

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset_file.hpp"
#include "data/dtype.hpp"

namespace lockstep::data {

struct ColumnLayout {
  std::int64_t chunk_rows = 0;  ///< rows of a chunk; 0 = contiguous, which reads fastest
  int deflate = 0;              ///< gzip level 1 to 9 after a byte shuffle, 0 = none; needs chunks
};

enum class ByteOrder { kNative, kBigEndian };

class DatasetWriter {
 public:
  /// Throws ConfigError when no file can be made at `path` (base::require_output_path), IoError
  /// when none can be made beside it.
  explicit DatasetWriter(const std::string& path);
  /// Without `commit` the temporary file is removed and an older file at `path` stays.
  ~DatasetWriter();
  DatasetWriter(const DatasetWriter&) = delete;
  DatasetWriter& operator=(const DatasetWriter&) = delete;

  /// `shape`: [rows, ...], all at least 1. Groups in `name` (`a/x`) are made as needed.
  void add_column(const std::string& name, DType dtype, std::span<const std::int64_t> shape,
                  ColumnLayout layout = {});
  /// Rows [begin, begin + count) of a column; `bytes` are its elements in `order`.
  void write_rows(const std::string& name, std::int64_t begin, std::int64_t count,
                  std::span<const std::byte> bytes, ByteOrder order = ByteOrder::kNative);
  /// A text attribute of the whole file.
  void set_attribute(const std::string& name, const std::string& text);
  /// Copies the attributes of the other file, and those of its datasets to the columns of the same
  /// name that have been added; an attribute that is here already stays. What cannot be carried
  /// (references to objects of the other file) is returned, each a sentence. Throws DataError.
  std::vector<std::string> copy_attributes(const DatasetFile& source);
  /// Looks at the complete file, still under a name of its own, before it gets its real one. What
  /// it throws ends the commit: no file appears then.
  using Inspection = std::function<void(const std::string& path)>;

  /// Returns when the file is durable under its name.
  void commit(const Inspection& inspection = nullptr);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Removes the temporary files that killed writers of `path` have left. For whoever knows that
/// nobody else writes it now.
void remove_unfinished(const std::string& path);

}  // namespace lockstep::data
