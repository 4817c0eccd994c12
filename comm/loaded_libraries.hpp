#pragma once
// Which shared libraries a process has mapped. Any thread.

#include <string>
#include <string_view>
#include <vector>

namespace lockstep::comm {

/// Paths of files whose name begins with `name` in `maps`, the text of /proc/PID/maps; each once,
/// in order of first appearance.
std::vector<std::string> mapped_files(std::string_view maps, std::string_view name);
/// Of this process.
std::vector<std::string> own_mapped_files(std::string_view name);

}  // namespace lockstep::comm
