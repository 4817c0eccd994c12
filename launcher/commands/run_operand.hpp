#pragma once
// The RUN operand that `show` and `verify` share, and how a record is shown in a line.

#include <string>

#include "checkpoints/run_directory.hpp"
#include "launcher/commands/command.hpp"

namespace lockstep::launcher {

/// A run by name, directory or `latest`.
class RunOperand {
 public:
  void declare(CLI::App& app);
  /// Throws CheckpointError when there is no such run.
  checkpoints::RunDirectory open() const;

 private:
  std::string run_;
  std::string directory_ = "runs";
};

Tone tone_of_status(const std::string& status);

/// `accuracy 0.912  loss 0.25`
std::string metrics_text(const checkpoints::RunRecord& record);

}  // namespace lockstep::launcher
