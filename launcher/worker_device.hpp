#pragma once
// Which device a rank computes on, from the configuration and from what the ranks of its host see.
// A part of lockstep-worker alone. One thread.

#include <string>

#include "launcher/worker.hpp"

namespace lockstep::launcher {

/// Loads what GPUs need when the configuration asks for one, or leaves the choice and there is one.
/// Before torch is used and before MPI. Throws DeviceError. Local.
void load_device(Worker& worker);
/// Each rank of a host takes a device of its own and, unless compute.bind is false, goes to the
/// NUMA node next to it: the calling thread and all that it starts later. Throws DeviceError.
/// Collective.
void take_device(Worker& worker, WorkerSession& session, base::Log& log);
/// The devices that this process sees, as JSON. `numa_node` is the first of the nodes next to one,
/// `cpus` their CPUs (`0-31`), `rank` the rank of this host that takes it where all see all; each
/// null where it is not known.
std::string devices_json();

}  // namespace lockstep::launcher
