#pragma once
// What `evaluate` and `predict` have in common: workers that read a run or one of its checkpoints.

#include <string>
#include <vector>

#include "launcher/commands/command.hpp"
#include "launcher/commands/launch_options.hpp"

namespace lockstep::launcher {

class ModelUse {
 public:
  /// Puts the run, overrides of its configuration and how to launch onto a subcommand.
  void declare(CLI::App& app);

  /// Runs `lockstep-worker VERB TARGET OPTIONS... OVERRIDES...`; its rank 0 prints the result.
  /// Returns the exit code. Throws CheckpointError when the target is neither a run nor a
  /// checkpoint of one, ConfigError when an override cannot be used.
  int run(const Session& session, const std::string& verb,
          const std::vector<std::string>& options) const;

 private:
  std::string target_;
  std::vector<std::string> overrides_;
  LaunchOptions launch_;
};

}  // namespace lockstep::launcher
