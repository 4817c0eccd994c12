#pragma once
// The options shared by the commands that start workers, and how they become a launch plan.

#include <optional>
#include <string>
#include <vector>

#include "configs/reader.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/launch_plan.hpp"

namespace lockstep::launcher {

struct LaunchOptions {
  std::optional<int> ranks;
  bool local = false;
  std::string launcher;  ///< empty = as configured
  std::string hosts;
  /// The configuration is one that a run has saved: its number of ranks is that of an allocation
  /// that is gone, so Slurm's own counts before it.
  bool saved = false;

  /// Puts --ranks, --local, --launcher and --hosts onto a subcommand.
  void declare(CLI::App& app);
  /// The same as overrides of the `launch` section, so that the saved configuration tells them.
  std::vector<std::string> overrides() const;
};

/// What to start for `config`, all but the worker's command. When no number of ranks was given,
/// hosts and then Slurm decide it.
LaunchRequest launch_request(const configs::LoadedConfig& loaded, const LaunchOptions& options,
                             const Session& session);

/// Micro-batches of one step, 0 when the configuration does not fix them.
std::int64_t micro_batches_of(const configs::RunConfig& config);

/// Throws ConfigError for a word that is not `key=value`, `+key=value` or `~key`.
void check_overrides(const std::vector<std::string>& overrides);

}  // namespace lockstep::launcher
