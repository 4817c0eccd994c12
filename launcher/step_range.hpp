#pragma once
// A range of steps as people write it. Pure, any thread.

#include <cstdint>
#include <string_view>

namespace lockstep::launcher {

/// Steps as the ledger counts, both ends included.
struct StepRange {
  std::int64_t first = 1;
  std::int64_t last = 1;
};

/// Reads `steps=20:25`, `20:25` or `20`. Throws ConfigError.
StepRange parse_steps(std::string_view text);

}  // namespace lockstep::launcher
