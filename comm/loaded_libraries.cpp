#include "comm/loaded_libraries.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace lockstep::comm {

std::vector<std::string> mapped_files(std::string_view maps, std::string_view name) {
  std::vector<std::string> found;
  while (!maps.empty()) {
    const auto line = maps.substr(0, maps.find('\n'));
    maps.remove_prefix(std::min(maps.size(), line.size() + 1));
    // The path is the sixth field, and the first thing with a slash.
    const auto begin = line.find('/');
    if (begin == std::string_view::npos) continue;
    const std::string path(line.substr(begin));
    if (!std::string_view(path).substr(path.rfind('/') + 1).starts_with(name)) continue;
    if (std::ranges::find(found, path) == found.end()) found.push_back(path);
  }
  return found;
}

std::vector<std::string> own_mapped_files(std::string_view name) {
  std::ifstream maps("/proc/self/maps");  // its size is said to be 0
  return mapped_files(std::string(std::istreambuf_iterator<char>(maps), {}), name);
}

}  // namespace lockstep::comm
