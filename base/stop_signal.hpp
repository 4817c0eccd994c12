#pragma once
// Requests to stop that arrive as signals. The handler sets a flag, nothing else; the training
// loop and the supervisor ask. One set of handlers a process: signal disposition is a property of
// the process, so this is the one place with process-wide state. `requests` may be called from
// any thread.

namespace lockstep::base {

/// While one of these exists, SIGUSR1, SIGUSR2, SIGTERM, SIGINT and SIGHUP (unless that is ignored)
/// count requests instead of ending the process. The destructor restores the former handlers.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// How often a stop was asked for: 1 = finish the step and save, 2 or more = stop now.
  int requests() const;
  /// The first signal number received, 0 when there was none.
  int first_signal() const;
};

}  // namespace lockstep::base
