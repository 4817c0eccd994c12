#include "checkpoints/cadence.hpp"

#include <algorithm>
#include <cmath>

namespace lockstep::checkpoints {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr Seconds kAssumedOfANode = std::chrono::hours(24);
constexpr double kGuessedBytesPerSecond = 500e6;

}  // namespace

Seconds best_interval(Seconds cost, Seconds time_between_failures) {
  const double c = std::max(cost.count(), 0.0);
  const double m = time_between_failures.count();
  if (c >= 2 * m) return Seconds(std::max(m, 0.0));
  const double ratio = c / (2 * m);
  return Seconds(std::sqrt(2 * c * m) * (1 + std::sqrt(ratio) / 3 + ratio / 9) - c);
}

Seconds guessed_cost(std::uint64_t state_bytes) {
  return Seconds(static_cast<double>(state_bytes) / kGuessedBytesPerSecond);
}

Seconds time_between_failures(int nodes, std::int64_t failures, Seconds elapsed) {
  const Seconds assumed = kAssumedOfANode / std::max(nodes, 1);
  return (assumed + elapsed) / static_cast<double>(std::max<std::int64_t>(failures, 0) + 1);
}

std::uint64_t DiskNeed::least_bytes() const {
  // The old one goes only when the new one is durable.
  return held_bytes >= state_bytes ? state_bytes : 2 * state_bytes - frozen_bytes;
}

std::uint64_t DiskNeed::whole_bytes() const {
  const auto stay = std::max<std::int64_t>(keep, 1) + (best ? 1 : 0) + kept_for_good + 1;
  const auto needed =
      static_cast<std::uint64_t>(stay) * (state_bytes - frozen_bytes) + frozen_bytes;
  return std::max(needed > held_bytes ? needed - held_bytes : 0, least_bytes());
}

}  // namespace lockstep::checkpoints
