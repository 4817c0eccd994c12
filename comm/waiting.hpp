#pragma once
// Texts about waits that all backends share. Inside comm only.

#include <chrono>
#include <span>
#include <string>

#include "base/error.hpp"

namespace lockstep::comm {

/// `ranks 1, 3 have not arrived`.
std::string not_arrived(std::span<const int> ranks);

/// `waiter` (an operation, a barrier) on `rank` waited `allowed` in vain because of `why`.
base::TimeoutError timeout_error(const std::string& waiter, int rank,
                                 std::chrono::milliseconds allowed, const std::string& why);

}  // namespace lockstep::comm
