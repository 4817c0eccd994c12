#pragma once
// The ledger of a run: one line a step, each carrying the hash of the line before, so that nothing
// can be repeated, skipped or changed unseen; and a line for each digest that became known after
// its step's line. Written by one rank, one thread. Format: FORMAT.md.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file_system.hpp"

namespace lockstep::checkpoints {

struct LedgerEntry {
  std::int64_t step = 0;   ///< finished optimizer steps, from 1
  std::int64_t epoch = 0;  ///< of the step's samples, from 0
  std::string samples{};   ///< digest of which samples the step used
  double loss = 0;
  double gradient_norm = 0;
  double lr = 0;
  int world_size = 1;
  std::string state_digest{};  ///< empty where none was taken
  std::string skipped{};       ///< why its update was dropped; empty = it was made
  bool operator==(const LedgerEntry&) const = default;
};

/// Whether the line of the newest finished step must be there: a crash between the step and its
/// line leaves it out when the state of that step was kept all the same.
enum class LastLine { kIsThere, kMayLack };

class LedgerWriter {
 public:
  /// Goes on after step `steps_done`: later lines of an attempt that was cut off move to
  /// `ledger.superseded.jsonl` beside the ledger, a torn last line with them; digests among them
  /// of steps that stay are written again. Throws CheckpointError when the lines up to
  /// `steps_done` are not all there or their chain is broken.
  LedgerWriter(base::FileSystem& files, const std::string& path, std::int64_t steps_done,
               LastLine last_line = LastLine::kIsThere);

  /// `entry.step` must follow the last one.
  void append(const LedgerEntry& entry);
  /// Notes the digest of the state after `step`, whose line is there already.
  void append_digest(std::int64_t step, const std::string& state_digest);
  /// Makes all lines so far durable.
  void sync();
  /// The newest line's step, 0 = there is none.
  std::int64_t last_step() const { return last_step_; }

 private:
  void append_line(const std::string& line);

  std::unique_ptr<base::WritableFile> file_;
  std::string last_hash_;
  std::int64_t last_step_ = 0;
};

struct LedgerCheck {
  std::vector<LedgerEntry> entries;  ///< up to the first problem
  std::string problem;               ///< empty = every line follows from the one before
};

/// Reads and checks the chain: hashes, order, no step repeated, none skipped. Digests are in the
/// entries of their steps. A torn last line is no problem. Throws CheckpointError when there is no
/// ledger.
LedgerCheck read_ledger(base::FileSystem& files, const std::string& path);

}  // namespace lockstep::checkpoints
