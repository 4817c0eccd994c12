#pragma once
// Which device a rank computes on, from the configuration and from what the ranks of its host see.
// A part of lockstep-worker alone. One thread.

#include <string>

#include "launcher/worker.hpp"

namespace lockstep::launcher {

/// Loads what GPUs need when the configuration asks for one, or leaves the choice and there is one.
/// Before torch is used and before MPI. Throws DeviceError. Local.
void load_device(Worker& worker);
/// Each rank of a host takes a device of its own. Throws DeviceError. Collective.
void take_device(Worker& worker, WorkerSession& session, base::Log& log);
/// The devices that this process sees, as JSON.
std::string devices_json();

}  // namespace lockstep::launcher
