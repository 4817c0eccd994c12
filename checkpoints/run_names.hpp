#pragma once
// Two-word names for runs that got none: `amber-heron`. Pure but for the choice. Any thread.

#include <cstdint>
#include <string>

namespace lockstep::checkpoints {

/// The name with number `number` of all combinations, in a fixed order that repeats.
std::string run_name(std::uint64_t number);

/// How many different names there are.
std::uint64_t run_name_count();

}  // namespace lockstep::checkpoints
