#pragma once
// The largest micro-batch that a rank's memory has room for: found by trying, before a run begins,
// and then part of its configuration, as its bits depend on it. Used by `train
// --find-micro-batch`. One thread.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace lockstep::launcher {

/// Divisors of `global_batch` that leave each of `ranks` a micro-batch at least, largest first.
std::vector<std::int64_t> micro_batch_candidates(std::int64_t global_batch, std::int64_t ranks);

/// The first of `candidates`, which are largest first, that `fits`; whatever is smaller than one
/// that fits is taken to fit as well, so that few are tried. 0 when none does.
std::int64_t largest_that_fits(const std::vector<std::int64_t>& candidates,
                               const std::function<bool(std::int64_t)>& fits);

struct MicroBatchTrial {
  std::vector<std::string> worker;  ///< `lockstep-worker train CONFIG overrides...`
  std::map<std::string, std::string> environment;
  std::int64_t global_batch = 0;
};

/// Whether one rank can train a step of a few micro-batches of that size: it does, in a process of
/// its own, in a folder that is removed. False when memory ran out. Throws what else goes wrong
/// there, with the process's words.
bool has_room_for(std::int64_t micro_batch, const MicroBatchTrial& trial);

}  // namespace lockstep::launcher
