#include "base/position.hpp"

#include <array>
#include <ctime>

namespace lockstep::base {

const char* name_of(Phase phase) {
  static constexpr std::array<const char*, kPhases> kNames{"start",      "restore",   "step",
                                                           "evaluation", "save",      "divergence",
                                                           "prediction", "benchmark", "end"};
  const auto index = static_cast<std::size_t>(phase);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::int64_t monotonic_nanoseconds() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace lockstep::base
