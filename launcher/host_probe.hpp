#pragma once
// Which hosts still answer, asked the way ranks are started there. Used between two launches, on
// one thread.

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "launcher/launch_plan.hpp"

namespace lockstep::launcher {

/// Those of `request.hosts`, each once, on which mpirun cannot run `program` (a path) within
/// `patience`, 16 asked at a time; `environment` is all of mpirun's. Nothing of it is left running.
/// When `stopped` says so, none is returned, and soon. Throws EnvironmentError when mpirun cannot
/// be started.
std::vector<std::string> silent_hosts(const LaunchRequest& request, const std::string& program,
                                      const std::map<std::string, std::string>& environment,
                                      std::chrono::milliseconds patience,
                                      const std::function<bool()>& stopped);

}  // namespace lockstep::launcher
