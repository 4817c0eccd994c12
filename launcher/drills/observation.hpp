#pragma once
// What came of a drill, and where that is not what must come of it. Pure but for `read_run`.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file_system.hpp"
#include "launcher/drills/drill.hpp"

namespace lockstep::launcher {

/// A line of events.jsonl, as far as drills look at it.
struct DrillEvent {
  std::string name;
  std::string cause{};
  int rank = -1;
  std::string phase{};
  std::int64_t step = -1;
  int exit_code = -1;
  std::string from{};  ///< of a resume: `memory`, or a checkpoint's path
};

/// What a run's own files say.
struct DrilledRun {
  std::string status;
  std::string state_digest{};
  std::int64_t step = 0;
  int restarts = 0;
  int straggler = -1;
  std::int64_t repeated = 0;  ///< steps that were computed again
  std::vector<DrillEvent> events{};
  std::string unsound{};  ///< what `verify` and the ledger's steps have against it; empty = nothing
};

/// Reads them. What cannot be read is `unsound`; throws nothing for a damaged run.
DrilledRun read_run(base::FileSystem& files, const std::string& run_path);

struct Observation {
  std::vector<int> exit_codes;           ///< of the launches that ended by themselves
  std::string late{};                    ///< what was waited for in vain; empty = nothing
  std::vector<std::string> leftovers{};  ///< processes and shared memory that outlived a launch
  std::string messages{};                ///< all that the launches said
  std::optional<DrilledRun> run{};       ///< nothing when there is no such run
  std::chrono::nanoseconds took{0};
};

/// A sentence for each way in which the drill did not end as it must; `undisturbed` is the digest
/// that it is held against.
std::vector<std::string> differences(const Drill& drill, const Observation& observed,
                                     const std::string& undisturbed);

/// `killed (rank 1, step 33), restart, on from step 30`
std::string happened(const Drill& drill, const Observation& observed);

}  // namespace lockstep::launcher
