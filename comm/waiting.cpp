#include "comm/waiting.hpp"

#include "base/text.hpp"

namespace lockstep::comm {

std::string not_arrived(std::span<const int> ranks) {
  return base::rank_list(ranks) + (ranks.size() == 1 ? " has" : " have") + " not arrived";
}

base::TimeoutError timeout_error(const std::string& waiter, int rank,
                                 std::chrono::milliseconds allowed, const std::string& why) {
  return base::TimeoutError(waiter + " on rank " + std::to_string(rank) + " waited " +
                            base::format_duration(allowed) + " (" + why +
                            "); look at what the late ranks do, or raise "
                            "launch.deadline_seconds");
}

}  // namespace lockstep::comm
