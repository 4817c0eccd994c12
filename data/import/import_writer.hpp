#pragma once
// The writing half that all imports share: datasets filled front to back in blocks, the attribute
// `source`, the report. Internal to data/import. One thread.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/import/import.hpp"

namespace lockstep::data::detail {

/// A dataset of the new file, filled front to back. Memory: one block of about 4 MiB, or one row or
/// chunk where that is larger.
class ColumnFiller {
 public:
  ColumnFiller(DatasetWriter& writer, std::string name, DType dtype,
               std::vector<std::int64_t> shape, const ColumnLayout& layout, ByteOrder order);

  std::int64_t rows() const { return shape_.front(); }
  std::size_t row_bytes() const { return row_bytes_; }
  /// Memory of the next rows, to be filled before the next call: as many of `most` as fit the
  /// block, at least one. Throws InternalError beyond the last row.
  std::span<std::byte> next_rows(std::int64_t most);
  /// The next row as elements of T.
  template <class T>
  std::span<T> next_row_as() {
    const auto bytes = next_rows(1);
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  /// Rows given out by `next_rows` so far.
  std::int64_t filled() const { return begin_ + used_; }
  /// Writes the last block. Throws InternalError when rows are missing.
  void finish();

 private:
  void flush();

  DatasetWriter* writer_;
  std::string name_;
  std::vector<std::int64_t> shape_;
  ByteOrder order_;
  std::size_t row_bytes_;
  std::int64_t block_rows_;
  std::vector<std::byte> block_;
  std::int64_t begin_ = 0;  ///< row of the block's start
  std::int64_t used_ = 0;
};

class ImportWriter {
 public:
  /// Makes the temporary file and notes where it comes from: `source` is
  /// {"format": format, "files": [names]}, names without folders. Throws ConfigError when the
  /// layout is impossible or the output is one of the inputs.
  ImportWriter(const ImportOutput& output, std::string_view format,
               std::span<const std::string> inputs);

  /// `shape`: [rows, ...]. The reference stays good for the writer's life.
  ColumnFiller& add_column(const std::string& name, DType dtype, std::vector<std::int64_t> shape,
                           ByteOrder order = ByteOrder::kNative);
  void set_attribute(const std::string& name, const std::string& text);
  /// `names` as a JSON array.
  void set_attribute(const std::string& name, std::span<const std::string> names);
  void progress(std::string_view phase, std::uint64_t done, std::uint64_t total) const;
  /// Completes the file. The result has rows, bytes and datasets.
  ImportResult commit();

 private:
  const ImportOutput& output_;
  DatasetWriter writer_;
  std::deque<ColumnFiller> columns_;
  ImportResult result_;
};

/// `json` on one line, with what is not UTF-8 replaced: names come from outside.
std::string json_text(const nlohmann::ordered_json& json);

/// The last part of a path.
std::string file_name_of(const std::string& path);

}  // namespace lockstep::data::detail
