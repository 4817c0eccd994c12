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
  std::vector<std::string> command;  ///< `lockstep train CONFIG overrides...`
  std::map<std::string, std::string> environment;
  std::int64_t global_batch = 0;
  std::int64_t ranks = 1;
};

struct TrialResult {
  bool fits = false;
  std::string words;  ///< of the process where it did not
};

/// Whether training fits with micro-batches of that size: a run of its own does some steps of a few
/// of them a rank, with all that training keeps, in a folder that is removed. Whatever ends it but
/// a mistake in configuration or data counts as a lack of memory: that shows in many ways. Throws
/// those, with the process's words.
TrialResult try_micro_batch(std::int64_t micro_batch, const MicroBatchTrial& trial);

}  // namespace lockstep::launcher
