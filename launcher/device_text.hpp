#pragma once
// What `doctor` says of the GPUs that `lockstep-worker devices` lists. Pure functions, any thread.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace lockstep::launcher {

/// A line a GPU, such as `NVIDIA H200 with 139 GiB at 0000:1b:00.0 (GPU-...), NUMA node 0, CPUs
/// 0-31, taken by rank 0 of this host`. What is not known is said to be, or left out.
std::vector<std::string> device_lines(const nlohmann::json& devices);

}  // namespace lockstep::launcher
