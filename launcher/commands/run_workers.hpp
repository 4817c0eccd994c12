#pragma once
// Runs the workers of a command to their end and says how it went: the last part of train, resume,
// evaluate and predict.

#include "checkpoints/run_directory.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/launch_plan.hpp"

namespace lockstep::launcher {

/// What the workers do to the run.
enum class RunUse {
  kWritten,  ///< they train: its record is settled and a card ends the command
  kRead,     ///< they evaluate or predict: their own result ends the command
};

/// Returns the exit code.
int run_workers(const Session& session, const LaunchPlan& plan,
                const checkpoints::RunDirectory& run, RunUse use);

}  // namespace lockstep::launcher
