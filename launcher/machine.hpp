#pragma once
// What this machine has that a launch depends on: programs on the PATH, physical cores, shared
// memory, and the worker beside this binary. Asked once by a command and passed on. Any thread.

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace lockstep::launcher {

using Variables = std::map<std::string, std::string>;

/// Path of an executable on the PATH of `environment`; empty when there is none. A name with a
/// slash is taken as a path.
std::string find_program(const std::string& name, const Variables& environment);

/// The `lockstep-worker` that belongs to this binary: LOCKSTEP_WORKER, or the one beside it.
/// Empty when there is none.
std::string find_worker(const Variables& environment);

/// The same. Throws EnvironmentError when there is none.
std::string require_worker(const Variables& environment);

/// Physical cores among the processors that this process may use.
int physical_cores();

/// NUMA nodes that have processors; 1 where the kernel does not say.
int numa_nodes();

/// Whether the machine has an NVIDIA driver; GPUs it may still have none.
bool has_nvidia_driver();

struct SpaceOnDisk {
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;
};
/// Nothing when the path does not exist.
std::optional<SpaceOnDisk> space_of(const std::string& path);

/// Bytes of memory this machine has.
std::uint64_t memory_bytes();

}  // namespace lockstep::launcher
