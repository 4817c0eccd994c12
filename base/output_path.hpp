#pragma once
// Whether a command may write its output where it was told to: asked before the work, so that
// nothing is computed in vain. Local; any thread.

#include <string>

namespace lockstep::base {

/// Throws ConfigError that names folder and reason when no file can be made at `path`: its folder
/// does not exist, is none, or may not be written to, or `path` is itself a directory.
void require_output_path(const std::string& path);

}  // namespace lockstep::base
