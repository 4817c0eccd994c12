#pragma once
// Which hosts still answer, asked the way ranks are started there. Used between two launches, on
// one thread.

#include <chrono>
#include <string>
#include <vector>

#include "launcher/launch_plan.hpp"

namespace lockstep::launcher {

/// Those of `request.hosts` on which mpirun cannot run `program` (a path) within `patience`, all
/// asked at the same time; `environment` is all of mpirun's. Nothing of it is left running. When
/// no host answers, the fault is not theirs, and none is returned.
std::vector<std::string> silent_hosts(const LaunchRequest& request, const std::string& program,
                                      const std::map<std::string, std::string>& environment,
                                      std::chrono::milliseconds patience);

}  // namespace lockstep::launcher
