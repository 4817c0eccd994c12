#pragma once
// When a run saves: after which steps, and, on rank 0, whether its clock asks for it. What the
// clock says reaches the others with the steps, so that all ranks save after the same one.
// Used by Checkpointing. One thread.

#include <chrono>
#include <cstdint>
#include <optional>

#include "configs/run_config.hpp"

namespace lockstep::trainer {

/// What the cadence depends on besides its knobs.
struct CadenceInputs {
  std::int64_t steps_per_epoch = 1;
  std::uint64_t state_bytes = 0;
  std::chrono::duration<double> time_between_failures{0};
  std::chrono::duration<double> wall_limit{0};  ///< from `begin` on; 0 = none
  std::chrono::nanoseconds begin{0};            ///< when this process began to train
};

/// Whether knobs of steps and epochs ask for a save after `step`: a function of the configuration.
bool due_by_count(const configs::CheckpointConfig& config, std::int64_t steps_per_epoch,
                  std::int64_t step);
/// The last step up to `step` after which they do; 0 when there is none.
std::int64_t last_due_by_count(const configs::CheckpointConfig& config,
                               std::int64_t steps_per_epoch, std::int64_t step);

class CheckpointCadence {
 public:
  CheckpointCadence(const configs::CheckpointConfig& config, const CadenceInputs& inputs);

  /// Whether knobs of steps and epochs ask for a save after `step`. The same on all ranks.
  bool due(std::int64_t step) const;
  /// Whether the time since the last save asks for one.
  bool asks(std::chrono::nanoseconds now) const;
  /// The interval of `every: auto` since the last save began; nothing without it.
  std::optional<std::chrono::duration<double>> interval() const;

  /// A save has begun.
  void began(std::chrono::nanoseconds now);
  /// A step took `wall`; `saving`: while a checkpoint was written. For the cost of a save.
  void step_took(std::chrono::nanoseconds wall, bool saving);
  /// A save is durable and its steps are counted; its own part of the training thread was
  /// `blocked`.
  void saved(std::chrono::nanoseconds blocked);
  /// What a save takes from training: its own part and what it slows steps by. A guess from the
  /// state's size before the first one.
  std::chrono::duration<double> cost() const;

 private:
  configs::CheckpointConfig config_;
  CadenceInputs inputs_;
  std::chrono::nanoseconds last_begin_;
  double calm_seconds_ = 0;  // of a step, a running mean
  double slowed_seconds_ = 0;
  std::int64_t slowed_steps_ = 0;
  std::optional<double> cost_;
};

}  // namespace lockstep::trainer
