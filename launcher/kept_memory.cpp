#include "launcher/kept_memory.hpp"

#include "base/text.hpp"

namespace lockstep::launcher {
namespace {

constexpr char kName[] = "lockstep-state";

}  // namespace

KeptMemory::KeptMemory(int nodes) {
  for (int node = 0; node < nodes; ++node) files_.emplace_back(kName);
}

std::string KeptMemory::addresses() const {
  std::vector<std::string> addresses;
  for (const auto& file : files_) addresses.push_back(file.address());
  return base::joined(addresses, ":");
}

std::string KeptMemory::find(const std::map<std::string, std::string>& variables, int node) {
  const auto place = variables.find(kKeptMemoryVariable);
  if (place == variables.end() || node < 0) return {};
  const auto addresses = base::split(place->second, ':');
  if (static_cast<std::size_t>(node) >= addresses.size()) return {};
  const auto& address = addresses[static_cast<std::size_t>(node)];
  return is_memory_file(address, kName) ? address : std::string();
}

}  // namespace lockstep::launcher
