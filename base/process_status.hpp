#pragma once
// What /proc/PID/stat (proc(5)) says of a process of this host. Any thread.

#include <cstdint>
#include <optional>

namespace lockstep::base {

struct ProcessStatus {
  char state = 0;  ///< R, S, D, T (stopped), t (traced), Z, X
  int parent = 0;
  std::int64_t cpu_ticks = 0;    ///< of its own, in user mode and in the kernel
  std::uint64_t start_time = 0;  ///< clock ticks after boot
};

/// Nothing when there is no such process, or /proc does not say.
std::optional<ProcessStatus> process_status(int pid);

/// Whether a debugger is attached to this process.
bool is_traced();

}  // namespace lockstep::base
