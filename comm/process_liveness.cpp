#include "comm/process_liveness.hpp"

#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "base/process_status.hpp"

namespace lockstep::comm {

ProcessIdentity this_process() {
  const auto pid = static_cast<std::int32_t>(::getpid());
  const auto state = base::process_status(pid);
  return {.pid = pid, .start_time = state ? state->start_time : 0};
}

bool is_alive(const ProcessIdentity& process) {
  if (::kill(process.pid, 0) != 0 && errno == ESRCH) return false;
  const auto state = base::process_status(process.pid);
  if (!state) return ::kill(process.pid, 0) == 0 || errno != ESRCH;
  if (state->state == 'Z' || state->state == 'X') return false;
  return process.start_time == 0 || state->start_time == process.start_time;
}

}  // namespace lockstep::comm
