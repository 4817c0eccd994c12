#pragma once
// The end that every command which trains has in common: run the workers under supervision, start
// them again when that helps, settle the run's files, and show the card or the failure.

#include <string>

#include "checkpoints/run_directory.hpp"
#include "configs/run_config.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/launch_plan.hpp"

namespace lockstep::launcher {

struct TrainingLaunch {
  LaunchRequest request;  ///< of the first launch
  const configs::RunConfig& config;
  checkpoints::RunDirectory run;
  bool trial = false;  ///< keeps no checkpoint, so a restart would have nothing to go on from
};

/// Whether the state of the last finished step is to outlive the ranks.
inline bool keeps_memory(const configs::RunConfig& config) {
  return config.checkpoint.in_memory && config.launch.restarts > 0;
}

/// Returns the exit code.
int run_training(const Session& session, TrainingLaunch launch);

}  // namespace lockstep::launcher
