#pragma once
// All runs of a folder, and what can be said of one from its files alone. Used by `runs`, `show`
// and `verify`. Reads only; any thread.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/file_system.hpp"
#include "checkpoints/run_directory.hpp"

namespace lockstep::checkpoints {

/// run.json, but `failed` where it says `running` of a run that nobody writes or minds any more.
RunRecord record_of(const RunDirectory& run);

struct RunList {
  std::vector<RunRecord> runs;        ///< oldest first
  std::vector<std::string> warnings;  ///< a line for each run that cannot be read
};

RunList list_runs(base::FileSystem& files, const std::string& base);

/// The record as `show --json` prints it: run.json with the current world size and the
/// checkpoints that exist.
nlohmann::ordered_json show_json(base::FileSystem& files, const RunDirectory& run);

struct Verification {
  bool good = true;
  std::vector<std::string> lines;  ///< a finding each
};

/// Recomputes the ledger's chain, every digest of all checkpoints, and whether ledger,
/// checkpoint and run.json agree.
Verification verify_run(base::FileSystem& files, const RunDirectory& run);

}  // namespace lockstep::checkpoints
