#pragma once
// What `plan` and `train --dry-run` print: everything a launch would do, before it does it.
// Pure, any thread.

#include <cstdint>
#include <optional>
#include <string>

#include "configs/run_config.hpp"
#include "launcher/launch_plan.hpp"

namespace lockstep::launcher {

/// What is known besides the configuration and the launch plan.
struct PlanFacts {
  std::optional<std::int64_t> samples;       ///< of the training data
  std::string no_samples;                    ///< why it is not known
  std::optional<std::uint64_t> parameters;   ///< as the worker describes the model
  std::optional<std::uint64_t> state_bytes;  ///< parameters, buffers and optimizer state
  std::optional<std::uint64_t> node_bytes;   ///< shared memory of a node at this number of ranks
  std::optional<std::uint64_t> kept_bytes;   ///< memory of a node that outlives its ranks
  std::uint64_t free_shared_bytes = 0;
  std::optional<std::uint64_t> free_disk_bytes;  ///< where the run's folder will lie
  std::string command;                           ///< what to paste into a shell
};

/// How the micro-batches of a step are shared out among the ranks of `plan`.
std::string split_text(const configs::RunConfig& config, const LaunchPlan& plan);

std::string plan_text(const configs::RunConfig& config, const LaunchPlan& plan,
                      const PlanFacts& facts);

}  // namespace lockstep::launcher
