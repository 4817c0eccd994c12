#include "base/error.hpp"

namespace lockstep::base {

const char* describe(ExitCode code) {
  switch (code) {
    case ExitCode::kDone: return "done";
    case ExitCode::kFailed: return "failed, cause not classified";
    case ExitCode::kUsage: return "usage or configuration error, nothing started";
    case ExitCode::kData: return "data error (missing, schema, checksum)";
    case ExitCode::kEnvironment: return "the environment lacks something";
    case ExitCode::kDiverged: return "training diverged";
    case ExitCode::kCheckpoint: return "checkpoint missing, corrupt or incompatible";
    case ExitCode::kGate:
      return "a gate failed (evaluate --min or --max, data diff, verify, drill)";
    case ExitCode::kRestarts: return "restart budget spent, or no progress between restarts";
    case ExitCode::kStopped: return "stopped on request with the state saved: run me again";
    case ExitCode::kWallLimit:
      return "own wall-clock limit reached before the state could be saved";
    case ExitCode::kInterrupted: return "SIGINT before the state could be saved";
    case ExitCode::kTerminated: return "SIGTERM before the state could be saved";
  }
  return "unknown exit code";
}

}  // namespace lockstep::base
