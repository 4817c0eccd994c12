#pragma once
// Makes the directory of a new run before anything is computed: name, resolved configuration with
// origins, overrides, and what identifies the run (command, commit, build, configuration hash).
// The supervisor calls it, and rank 0 of a worker that was started directly. No MPI and no torch
// here, and git is started: call it before MPI_Init and before there are threads.

#include <string>
#include <vector>

#include "checkpoints/run_directory.hpp"
#include "configs/reader.hpp"

namespace lockstep::launcher {

struct RunRequest {
  std::vector<std::string> command{};  ///< as typed
  int ranks = 1;
  std::vector<std::string> hosts{};  ///< empty = this one
  std::string working_directory = ".";
  std::string parent{};  ///< run that this one comes from, or empty
};

/// The new run's directory, complete and durable, with status `running`. Throws ConfigError when
/// a run of that name exists, IoError when the file system refuses.
checkpoints::RunDirectory prepare_run(const configs::LoadedConfig& loaded,
                                      const RunRequest& request);

}  // namespace lockstep::launcher
