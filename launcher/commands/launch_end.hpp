#pragma once
// What a launch ends with on the terminal, whether its workers trained or only read a run.

#include "checkpoints/run_directory.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/judge.hpp"

namespace lockstep::launcher {

/// Runs workers once under supervision, with their messages on the terminal.
LaunchEnd run_once(const Session& session, const LaunchPlan& plan);

/// Of workers that trained: the card, or the failure's table. Returns the exit code.
int show_end(const Session& session, const checkpoints::RunDirectory& run, const LaunchEnd& end,
             const checkpoints::RunRecord& record);

/// Of workers that read the run: nothing but what the ranks could not tell themselves. Returns the
/// exit code.
int show_end_of_reading(const Session& session, const LaunchEnd& end);

}  // namespace lockstep::launcher
