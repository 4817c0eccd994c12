#pragma once
// Samples of one dataset file, put into their places in a batch. Internal to data/: SampleSource
// reads one file or several through it. One thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/augmentation.hpp"
#include "data/batch.hpp"
#include "data/dataset_file.hpp"
#include "data/input_scaling.hpp"
#include "data/labels_beside.hpp"
#include "data/read_ahead.hpp"
#include "data/source.hpp"

namespace lockstep::data::detail {

/// Samples of one file: `samples[i]` becomes the batch's sample `places[i]`.
struct Picked {
  std::span<const std::int64_t> samples;
  std::span<const std::size_t> places;
};

class FileSource {
 public:
  /// Opens the file and checks its schema; labels are checked here as a whole. Throws DataError, or
  /// ConfigError when the options do not fit the file's shapes.
  FileSource(const std::string& path, const SourceOptions& options);

  const SourceInfo& info() const { return info_; }
  const std::string& path() const { return path_; }
  /// Labels at or above this are errors from now on: the classes of all files together.
  void set_classes(std::int64_t classes);

  /// Fills the places of the picked samples in the buffers of `batch`, which are large enough.
  /// Throws DataError naming file, dataset and row.
  void read(const Picked& picked, Batch& batch, ReadFor use);

  struct CachedColumn {
    std::string name;
    std::size_t bytes;  ///< of all its rows, decoded
  };
  /// The columns whose rows have to be decoded.
  std::vector<CachedColumn> cached_columns() const;
  /// Brings samples into memory, on another thread. See DatasetFile::ahead.
  BringSamples ahead();
  DatasetFile& file() { return file_; }
  /// Rows of a chunk of the inputs; 0 when they are not in chunks.
  std::int64_t chunk_rows() const;

 private:
  std::string described(const ColumnInfo& column) const;
  TaskKind decide_kind() const;
  void need_rows(const ColumnInfo& column) const;
  void describe_inputs();
  void describe_classes();
  void describe_values();
  void describe_tokens();
  std::int64_t largest_label(const ColumnInfo& column);
  [[noreturn]] void refuse_label(const ColumnInfo& column, std::int64_t row,
                                 std::int64_t label) const;
  template <class RowOf>
  void check_labels(std::span<const std::int64_t> labels, const RowOf& row_of) const;
  [[noreturn]] void refuse_not_finite(const ColumnInfo& column, std::span<const std::int64_t> rows);
  void read_labelled(const Picked& picked, Batch& batch, ReadFor use);
  void read_inputs(const Picked& picked, Batch& batch, ReadFor use, const LabelsBeside& labels);
  void take_classes(const Picked& picked, std::span<std::int64_t> classes);
  void read_one_hot(const Picked& picked, Batch& batch);
  void read_values(const Picked& picked, Batch& batch);
  void read_tokens(const Picked& picked, Batch& batch, ReadFor use);
  std::string path_;
  SourceOptions options_;
  DatasetFile file_;
  SourceInfo info_;
  const ColumnInfo* inputs_ = nullptr;   ///< nullptr for tokens
  const ColumnInfo* targets_ = nullptr;  ///< of tokens: the tokens
  InputScaling scaling_;
  Augmentation augmentation_;
  std::vector<std::byte> raw_;
  std::vector<std::byte> moved_;  ///< one row
  std::vector<std::int64_t> labels_;
  std::vector<std::int64_t> window_;
  std::vector<std::pair<std::int64_t, std::size_t>> by_position_;
};

}  // namespace lockstep::data::detail
