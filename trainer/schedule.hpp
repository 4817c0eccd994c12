#pragma once
// Learning-rate schedules as a pure function of the step. Used by the training step and by
// `--dry-run`. Any thread.

#include <cstdint>
#include <string>

namespace lockstep::trainer {

enum class ScheduleKind { kConstant, kCosine, kLinear, kStep };

struct Schedule {
  ScheduleKind kind = ScheduleKind::kConstant;
  double base_lr = 1e-3;
  double min_lr_ratio = 0;        ///< where cosine and linear end, as a part of base_lr
  std::int64_t warmup_steps = 0;  ///< linear from base_lr / warmup_steps up to base_lr
  std::int64_t total_steps = 1;   ///< where cosine and linear reach their end
  std::int64_t step_size = 1;     ///< steps between two drops of kStep
  double gamma = 0.1;             ///< factor of each drop of kStep
};

/// Throws ConfigError for a name that is not constant, cosine, linear or step.
ScheduleKind schedule_kind(const std::string& name);

/// Learning rate of optimizer step `step` (0-based).
/// Cosine without restarts: Loshchilov and Hutter 2017, equation 5.
double lr_at(const Schedule& schedule, std::int64_t step);

}  // namespace lockstep::trainer
