#include "comm/waiting.hpp"

#include <vector>

#include "base/text.hpp"

namespace lockstep::comm {

std::string rank_list(std::span<const int> ranks) {
  constexpr std::size_t kShown = 8;
  std::vector<std::string> parts;
  for (const int rank : ranks.first(std::min(ranks.size(), kShown))) {
    parts.push_back(std::to_string(rank));
  }
  std::string text = (ranks.size() == 1 ? "rank " : "ranks ") + base::joined(parts);
  if (ranks.size() > kShown) text += " and " + std::to_string(ranks.size() - kShown) + " more";
  return text;
}

std::string not_arrived(std::span<const int> ranks) {
  return rank_list(ranks) + (ranks.size() == 1 ? " has" : " have") + " not arrived";
}

base::TimeoutError timeout_error(const std::string& waiter, int rank,
                                 std::chrono::milliseconds allowed, const std::string& why) {
  return base::TimeoutError(waiter + " on rank " + std::to_string(rank) + " waited " +
                            base::format_duration(allowed) + " (" + why +
                            "); look at what the late ranks do, or raise "
                            "launch.deadline_seconds");
}

}  // namespace lockstep::comm
