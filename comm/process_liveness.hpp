#pragma once
// Whether another process of this machine still lives. Inside comm only. Any thread.

#include <cstdint>

namespace lockstep::comm {

/// A process that is told apart from a later one with the same pid.
struct ProcessIdentity {
  std::int32_t pid = 0;
  std::uint64_t start_time = 0;  ///< clock ticks after boot; 0 when /proc does not say
  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};

ProcessIdentity this_process();

/// False for a process that has ended, waits to be reaped, or whose pid another one has by now.
bool is_alive(const ProcessIdentity& process);

}  // namespace lockstep::comm
