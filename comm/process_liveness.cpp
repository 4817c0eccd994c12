#include "comm/process_liveness.hpp"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

namespace lockstep::comm {
namespace {

struct ProcessState {
  char state;
  std::uint64_t start_time;
};

/// From /proc/PID/stat (proc(5)): the fields after the command name, which is in parentheses and
/// may hold anything.
std::optional<ProcessState> read_state(std::int32_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  const auto name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  ProcessState result{};
  fields >> result.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  fields >> result.start_time;
  if (!fields) return std::nullopt;
  return result;
}

}  // namespace

ProcessIdentity this_process() {
  const auto pid = static_cast<std::int32_t>(::getpid());
  const auto state = read_state(pid);
  return {.pid = pid, .start_time = state ? state->start_time : 0};
}

bool is_alive(const ProcessIdentity& process) {
  if (::kill(process.pid, 0) != 0 && errno == ESRCH) return false;
  const auto state = read_state(process.pid);
  if (!state) return ::kill(process.pid, 0) == 0 || errno != ESRCH;
  if (state->state == 'Z' || state->state == 'X') return false;
  return process.start_time == 0 || state->start_time == process.start_time;
}

}  // namespace lockstep::comm
