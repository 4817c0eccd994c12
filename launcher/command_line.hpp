#pragma once
// The `lockstep` command line: reads the words, runs the command, and is the one place that prints
// an error and turns it into an exit code.

#include <map>
#include <string>
#include <vector>

namespace lockstep::launcher {

/// Runs `words` (without the program's name). Returns the exit code; never throws.
int run_command_line(const std::vector<std::string>& words,
                     const std::map<std::string, std::string>& environment);

}  // namespace lockstep::launcher
