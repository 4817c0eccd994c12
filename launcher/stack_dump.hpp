#pragma once
// SIGQUIT makes a process write the stack of its main thread to a file, and go on. For the
// supervisor of a run that hangs, and for people (kill -QUIT).

#include <string>

namespace lockstep::launcher {

/// From now on SIGQUIT writes to `path`, whose folder need not exist before the signal comes. Of
/// the process; the newest path counts.
void write_stacks_to(const std::string& path);

}  // namespace lockstep::launcher
