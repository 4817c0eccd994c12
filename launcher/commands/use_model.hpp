#pragma once
// What `evaluate` and `predict` have in common: workers that read a run or one of its checkpoints.

#include <string>
#include <vector>

#include "launcher/commands/command.hpp"
#include "launcher/commands/launch_options.hpp"

namespace lockstep::launcher {

/// Runs `lockstep-worker VERB TARGET OPTIONS...`; its rank 0 prints the result. Returns the exit
/// code. Throws CheckpointError when `target` is neither a run nor a checkpoint of one.
int use_model(const Session& session, const LaunchOptions& launch, const std::string& target,
              const std::string& verb, const std::vector<std::string>& options);

}  // namespace lockstep::launcher
