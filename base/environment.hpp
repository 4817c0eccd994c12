#pragma once
// The one place that reads the process environment and asks the system who and where it is.
// Read once at start and passed on; nothing below the mains calls it. Any thread.

#include <map>
#include <optional>
#include <string>

namespace lockstep::base {

/// A variable's value; nothing when it is unset.
std::optional<std::string> environment_variable(const std::string& name);

/// All variables of this process.
std::map<std::string, std::string> environment_variables();

enum class Launcher { kNone, kOpenMpi, kPmix, kPmi, kSlurm };

/// What a launcher told this process about its place. Under mpirun inside a Slurm job every rank
/// sees SLURM_PROCID=0, so the order is Open MPI, PMIx, PMI, Slurm.
struct LaunchedAs {
  Launcher launcher = Launcher::kNone;
  int rank = 0;
  int world_size = 1;  ///< 0 when the launcher does not say
  int local_rank = 0;
};

/// Reads the launcher's variables from `variables`. Throws EnvironmentError when a value is not
/// a number.
LaunchedAs launched_as(const std::map<std::string, std::string>& variables);

/// The folder for what commands may keep between calls: `lockstep` in XDG_CACHE_HOME, else in
/// `$HOME/.cache` (XDG Base Directory Specification 0.8: a relative path is ignored). Empty when
/// `variables` have neither. Need not exist.
std::string cache_directory(const std::map<std::string, std::string>& variables);

std::string host_name();
/// Cores this process may run on.
int available_cores();
bool is_terminal(int descriptor);

}  // namespace lockstep::base
