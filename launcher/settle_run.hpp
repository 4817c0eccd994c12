#pragma once
// After a launch: sees to it that the run's files tell how it ended, also when its ranks could not
// write that themselves. For the supervisor; one thread, after all ranks have gone.

#include <string>

#include "base/clock.hpp"
#include "checkpoints/run_directory.hpp"
#include "launcher/supervise.hpp"

namespace lockstep::launcher {

/// The status that run.json has for an exit code: done, stopped, diverged or failed.
const char* status_of(int exit_code);

/// Notes in run.json that the run ended with `exit_code` at `time`.
void end_record(const checkpoints::RunDirectory& run, int exit_code, const std::string& time);

/// Variable that tells a worker how many restarts came before it; unset = none.
inline constexpr char kAttemptVariable[] = "LOCKSTEP_ATTEMPT";

/// Notes that the run is about to be started again after `verdict`, on `ranks` ranks: in its
/// events, and in run.json's count.
void note_restart(base::FileSystem& files, const checkpoints::RunDirectory& run,
                  const Verdict& verdict, int ranks, const base::Clock& clock);

/// Notes the end in run.json, and the verdict in events.jsonl, where the ranks have not. Returns
/// the record as it then stands.
checkpoints::RunRecord settle_run(base::FileSystem& files, const checkpoints::RunDirectory& run,
                                  const LaunchEnd& end, const base::Clock& clock);

}  // namespace lockstep::launcher
