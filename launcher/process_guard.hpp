#pragma once
// The process between the supervisor and the command it runs: starts the command, reaps it and
// all its descendants, passes signals on, and ends what is left when the command has ended or its
// owner has gone. An implementation part of ChildProcess; runs in a forked process.

#include <cstdint>

#include "launcher/child_process.hpp"

namespace lockstep::launcher::detail {

/// What owner and guard tell each other, one datagram a message.
struct GuardMessage {
  enum class Kind : std::int32_t {
    kStarted,  ///< to the owner: `value` is the command's pid
    kRefused,  ///< to the owner: it could not be started, `value` is errno
    kExited,   ///< to the owner: all are gone, `value` is the exit code
    kKilled,   ///< to the owner: all are gone, `value` is the signal
    kSignal,   ///< to the guard: send signal `value` to the command
    kStop,     ///< to the guard: end everything
    kKill,     ///< to the guard: end everything, without a grace
  };
  Kind kind;
  std::int32_t value;
};

/// Runs the command to its end and returns when nothing of it is left. `socket` is the guard's end
/// of the pair, `messages` becomes the command's standard error. Every other descriptor above 2 is
/// closed.
void run_guard(const ChildOptions& options, int socket, int messages);

}  // namespace lockstep::launcher::detail
