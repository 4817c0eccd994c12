#include "base/process_status.hpp"

#include <fstream>
#include <sstream>
#include <string>

namespace lockstep::base {

std::optional<ProcessStatus> process_status(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  // The second field is the process's name in parentheses, which may hold anything.
  if (!std::getline(file, line, '\0')) return std::nullopt;
  const auto name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  const auto skip = [&](int count) {
    std::string skipped;
    for (int i = 0; i < count; ++i) fields >> skipped;
  };
  ProcessStatus status;
  std::int64_t user = 0, system = 0;
  fields >> status.state >> status.parent;  // fields 3 and 4
  skip(9);
  fields >> user >> system;  // 14 and 15
  skip(6);
  fields >> status.start_time;  // 22
  if (!fields) return std::nullopt;
  status.cpu_ticks = user + system;
  return status;
}

bool is_traced() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("TracerPid:")) return line.find_first_of("123456789") != std::string::npos;
  }
  return false;
}

}  // namespace lockstep::base
