#pragma once
// A group whose ranks are threads of one process: multi-rank logic under a debugger, under
// ThreadSanitizer and in unit tests. Each rank's communicator belongs to its thread; they may end
// in any order.

#include <functional>
#include <memory>
#include <vector>

#include "comm/communicator.hpp"

namespace lockstep::comm {

/// One communicator a rank.
std::vector<std::unique_ptr<Communicator>> make_thread_group(int ranks);

/// Runs `rank_main` as every rank, each on its own thread, and returns when all have ended. When a
/// rank throws, the group fails, and the exception of the rank that failed first is thrown here.
void run_on_threads(int ranks, const std::function<void(Communicator&)>& rank_main);

}  // namespace lockstep::comm
