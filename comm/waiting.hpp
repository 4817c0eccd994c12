#pragma once
// Texts about waits that all backends share. Inside comm only.

#include <chrono>
#include <span>
#include <string>

#include "base/error.hpp"

namespace lockstep::comm {

/// `rank 3`, `ranks 1, 3`; long lists are cut: `ranks 0, 1, 2, 3, 4, 5, 6, 7 and 24 more`.
std::string rank_list(std::span<const int> ranks);

/// `ranks 1, 3 have not arrived`.
std::string not_arrived(std::span<const int> ranks);

/// `waiter` (an operation, a barrier) on `rank` waited `allowed` in vain because of `why`.
base::TimeoutError timeout_error(const std::string& waiter, int rank,
                                 std::chrono::milliseconds allowed, const std::string& why);

}  // namespace lockstep::comm
