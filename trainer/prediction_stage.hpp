#pragma once
// Rows on their way into a file that cannot be written a bit at a time: a raw file beside the
// output, and a journal that says which ranges of it are durable and what they hash to. A command
// that is killed goes on from there; what is damaged or of another command is never used.
// Used by prediction, on rank 0. One thread. Torch-free.
//
// Format, version 1. `.NAME.partial`: the rows, raw, in order. `.NAME.journal`: a line that says
// what the rows are, then a line a range, `{"begin": B, "end": E, "xxh3": H}`, ranges in order and
// without gaps from row 0, H the XXH3-128 of the rows' bytes in hexadecimal digits.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_system.hpp"

namespace lockstep::trainer {

struct StagedRows {
  std::string output;    ///< the file that is made in the end; the stage lies beside it
  std::string identity;  ///< one line: rows of equal identities are equal
  std::int64_t rows = 0;
  std::int64_t unit = 1;  ///< ranges end at a multiple of so many rows, or at the last row
  std::size_t row_bytes = 1;
};

class PredictionStage {
 public:
  /// Reads what an earlier command has left; nothing of it is trusted before `keep`.
  PredictionStage(base::FileSystem& files, StagedRows what);

  /// Ranges in the stage.
  std::size_t ranges() const { return ranges_.size(); }
  std::int64_t begin_of(std::size_t range) const { return ranges_.at(range).begin; }
  /// The bytes of a range, or nothing when they are not what was committed.
  std::optional<std::vector<std::byte>> read(std::size_t range);

  /// Goes on after the first `ranges` ranges, which were read and are right; what comes later is
  /// dropped. Before the first `append`.
  void keep(std::size_t ranges);
  /// Why something that was there is not used; empty otherwise.
  const std::string& dropped() const { return dropped_; }

  /// Rows that a kill does not lose.
  std::int64_t committed() const { return ranges_.empty() ? 0 : ranges_.back().end; }
  std::size_t pending_bytes() const { return pending_.size(); }
  /// The next rows, kept in memory until `commit`.
  void append(std::span<const std::byte> rows);
  /// Makes the rows appended so far durable, then the line that says so. Throws IoError.
  void commit();
  /// Removes both files: the output is there, or they are damaged.
  void remove();

 private:
  struct Range {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    std::string hash;
  };
  void read_journal();
  bool fits(const Range& range, std::uint64_t partial_bytes) const;
  std::uint64_t offset(std::int64_t row) const {
    return static_cast<std::uint64_t>(row) * what_.row_bytes;
  }

  base::FileSystem& files_;
  StagedRows what_;
  std::string partial_path_, journal_path_;
  std::vector<Range> ranges_;
  std::string dropped_;
  std::unique_ptr<base::WritableFile> partial_, journal_;  // after keep
  std::vector<std::byte> pending_;
};

}  // namespace lockstep::trainer
