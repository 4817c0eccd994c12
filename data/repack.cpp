#include "data/repack.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/output_path.hpp"
#include "base/text.hpp"
#include "data/dataset_file.hpp"
#include "data/file_descriptor.hpp"
#include "data/permutation.hpp"

namespace lockstep::data {
namespace {

constexpr std::int64_t kBlockBytes = std::int64_t{8} << 20;
/// Rows are gathered from all over the file for each block, so a large one passes over it less
/// often.
constexpr std::int64_t kShuffledBlockBytes = std::int64_t{256} << 20;
constexpr std::int64_t kUsualChunkBytes = std::int64_t{256} << 10;
/// HDF5 counts a chunk's bytes in 32 bits.
constexpr std::int64_t kMostChunkBytes = (std::int64_t{1} << 32) - 1;

using Hash = std::array<std::uint8_t, 16>;

class Repacking {
 public:
  Repacking(const std::string& path, const RepackOptions& options)
      : options_(options), input_(path), writer_(options.output) {}

  RepackResult operator()() {
    for (const auto& column : input_.columns()) {
      if (column.dtype == DType::kUnsupported || column.rows() * column.row_elements() == 0) {
        result_.notes.push_back("dataset " + base::quote(column.name) + " was left out (it holds " +
                                (column.dtype == DType::kUnsupported
                                     ? column.type_name + " elements)"
                                     : std::string("no elements)")));
        continue;
      }
      columns_.push_back(column);
    }
    if (columns_.empty()) {
      throw base::DataError("data file " + base::quote(input_.path()) +
                            " has no dataset of numbers, so there is nothing to repack; name "
                            "another file, or see 'lockstep data inspect'");
    }
    choose_order();
    for (const auto& column : columns_) copy(column);
    for (auto& note : writer_.copy_attributes(input_)) result_.notes.push_back(std::move(note));
    writer_.commit([&](const std::string& written) {
      if (options_.check == RepackOptions::Check::kReadBack) read_back(written);
    });
    describe();
    return std::move(result_);
  }

 private:
  void choose_order() {
    if (!options_.shuffle_seed) return;
    std::vector<std::string> names;
    for (const auto& column : columns_) names.push_back(column.name);
    order_.emplace(input_.rows(names), *options_.shuffle_seed, 0, Shuffle::kOn);
  }

  ColumnLayout layout_of(const ColumnInfo& column) const {
    const auto row_bytes = static_cast<std::int64_t>(column.row_bytes());
    auto layout = options_.layout;
    if (layout.deflate > 0 && layout.chunk_rows == 0) {
      layout.chunk_rows = std::max<std::int64_t>(1, kUsualChunkBytes / row_bytes);
    }
    layout.chunk_rows = std::min(layout.chunk_rows, column.rows());
    if (layout.chunk_rows > kMostChunkBytes / row_bytes) {
      throw base::ConfigError("chunks of " + std::to_string(layout.chunk_rows) +
                              " rows cannot be made for dataset " + base::quote(column.name) +
                              " (they would be larger than 4 GiB); give fewer rows");
    }
    return layout;
  }

  /// Rows that are read and written at a time: whole chunks.
  std::int64_t block_rows(const ColumnInfo& column, const ColumnLayout& layout) const {
    const auto row_bytes = static_cast<std::int64_t>(column.row_bytes());
    const auto rows =
        std::max<std::int64_t>(1, (order_ ? kShuffledBlockBytes : kBlockBytes) / row_bytes);
    const auto chunk = std::max<std::int64_t>(1, layout.chunk_rows);
    return std::max(chunk, rows / chunk * chunk);
  }

  void copy(const ColumnInfo& column) {
    const auto layout = layout_of(column);
    const auto most = block_rows(column, layout);
    writer_.add_column(column.name, column.dtype, column.shape, layout);
    std::vector<std::byte> raw;
    std::vector<std::int64_t> rows;
    std::vector<Hash> hashes;
    for (std::int64_t begin = 0; begin < column.rows(); begin += most) {
      const auto count = std::min(most, column.rows() - begin);
      raw.resize(static_cast<std::size_t>(count) * column.row_bytes());
      if (order_) {
        rows.resize(static_cast<std::size_t>(count));
        for (std::size_t i = 0; i < rows.size(); ++i) {
          rows[i] = order_->at(begin + static_cast<std::int64_t>(i));
        }
        input_.read_rows(column.name, rows, raw);
      } else {
        input_.read_rows(column.name, begin, count, raw);
      }
      writer_.write_rows(column.name, begin, count, raw);
      hashes.push_back(base::xxh3_128(raw));
    }
    blocks_.push_back(most);
    hashes_.push_back(std::move(hashes));
  }

  void read_back(const std::string& written) {
    DatasetFile output(written);
    std::vector<std::byte> raw;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const auto& column = columns_[i];
      auto hash = hashes_[i].begin();
      for (std::int64_t begin = 0; begin < column.rows(); begin += blocks_[i]) {
        const auto count = std::min(blocks_[i], column.rows() - begin);
        raw.resize(static_cast<std::size_t>(count) * column.row_bytes());
        output.read_rows(column.name, begin, count, raw);
        if (base::xxh3_128(raw) != *hash++) {
          throw base::IoError("dataset " + base::quote(column.name) + " of output " +
                                  base::quote(options_.output) + " differs from row " +
                                  std::to_string(begin) +
                                  " on from what was written (the file system or the memory lost "
                                  "it); check the disk, then repack again",
                              0);
        }
      }
    }
  }

  void describe() {
    const DatasetFile output(options_.output);
    for (const auto& column : columns_) {
      result_.columns.push_back({.name = column.name,
                                 .bytes_before = input_.stored_bytes(column.name),
                                 .bytes_after = output.stored_bytes(column.name)});
    }
    result_.file_bytes_before = detail::FileDescriptor(input_.path()).size();
    result_.file_bytes_after = detail::FileDescriptor(options_.output).size();
  }

  const RepackOptions& options_;
  DatasetFile input_;
  DatasetWriter writer_;
  std::vector<ColumnInfo> columns_;
  std::optional<Permutation> order_;
  std::vector<std::int64_t> blocks_;       ///< rows of a block of each column
  std::vector<std::vector<Hash>> hashes_;  ///< of its blocks, as they were handed to the writer
  RepackResult result_;
};

}  // namespace

RepackResult repack(const std::string& path, const RepackOptions& options) {
  base::require_output_path(options.output);
  std::error_code none;
  if (std::filesystem::equivalent(path, options.output, none)) {
    throw base::ConfigError("output " + base::quote(options.output) +
                            " is the input itself (what cannot be carried would be lost); name "
                            "another file");
  }
  if (options.layout.deflate < 0 || options.layout.deflate > 9 || options.layout.chunk_rows < 0) {
    throw base::ConfigError("layout with chunks of " + std::to_string(options.layout.chunk_rows) +
                            " rows and deflate " + std::to_string(options.layout.deflate) +
                            " cannot be made (rows are 0 or more, levels 0 to 9); give other "
                            "numbers");
  }
  return Repacking(path, options)();
}

}  // namespace lockstep::data
