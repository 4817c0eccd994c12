#pragma once
// The options of `train` that look into what ranks do: profiles, a debugger, checks of values and
// of GPU memory. A run with one of them is not started again when it fails.

#include <optional>
#include <string>
#include <vector>

#include "configs/run_config.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/launch_plan.hpp"

namespace lockstep::launcher {

struct DebugOptions {
  bool anomaly = false;
  std::string profile;     ///< `steps=20:25`, or empty
  std::optional<int> gdb;  ///< rank
  std::string sanitize;    ///< tool of compute-sanitizer, or empty

  void declare(CLI::App& app);
  bool any() const { return anomaly || !profile.empty() || gdb || !sanitize.empty(); }
  /// What they change in the configuration.
  std::vector<std::string> overrides() const;
  /// Puts them into the worker's command. Throws ConfigError for what `request` or `config` does
  /// not have, EnvironmentError when a program is missing.
  void apply(LaunchRequest& request, const configs::RunConfig& config) const;
};

}  // namespace lockstep::launcher
