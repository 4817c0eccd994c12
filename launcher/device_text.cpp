#include "launcher/device_text.hpp"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/text.hpp"

namespace lockstep::launcher {
namespace {

std::string place_of(const nlohmann::json& device) {
  const auto node = device.find("numa_node");
  if (node == device.end() || !node->is_number()) return "NUMA node not known";
  const auto cpus = device.find("cpus");
  auto place = fmt::format("NUMA node {}", node->get<int>());
  if (cpus != device.end() && cpus->is_string()) {
    place += fmt::format(", CPUs {}", cpus->get<std::string>());
  }
  return place;
}

}  // namespace

std::vector<std::string> device_lines(const nlohmann::json& devices) {
  std::vector<std::string> lines;
  for (const auto& device : devices) {
    lines.push_back(fmt::format("{} with {} at {} ({}), {}", device.value("name", ""),
                                base::format_bytes(device.value("memory_bytes", std::uint64_t{0})),
                                device.value("pci", ""), device.value("uuid", ""),
                                place_of(device)));
    const auto rank = device.find("rank");
    if (rank != device.end() && rank->is_number()) {
      lines.back() += fmt::format(", taken by rank {} of this host", rank->get<int>());
    }
  }
  return lines;
}

}  // namespace lockstep::launcher
