#pragma once
// Runs a short program and keeps what it writes: `lockstep-worker describe`, `mpirun --version`.
// Before MPI_Init only. One thread.

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lockstep::launcher {

struct Captured {
  int exit_code = 0;   ///< 128 + signal when it was killed
  std::string output;  ///< standard output, at most 1 MiB of it
  std::string errors;  ///< standard error, the same
};

/// Nothing when the program cannot be started or is not done within `timeout` (it is then killed).
std::optional<Captured> run_captured(const std::vector<std::string>& argv,
                                     const std::map<std::string, std::string>& environment,
                                     std::chrono::milliseconds timeout);

}  // namespace lockstep::launcher
