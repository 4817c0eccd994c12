#include "trainer/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::trainer {

ScheduleKind schedule_kind(const std::string& name) {
  if (name == "constant") return ScheduleKind::kConstant;
  if (name == "cosine") return ScheduleKind::kCosine;
  if (name == "linear") return ScheduleKind::kLinear;
  if (name == "step") return ScheduleKind::kStep;
  throw base::ConfigError("schedule " + base::quote(name) +
                          " is unknown (constant, cosine, linear and step exist); choose one");
}

double lr_at(const Schedule& schedule, std::int64_t step) {
  if (step < schedule.warmup_steps) {
    return schedule.base_lr * static_cast<double>(step + 1) /
           static_cast<double>(schedule.warmup_steps);
  }
  const auto done = static_cast<double>(step - schedule.warmup_steps);
  const auto span =
      static_cast<double>(std::max<std::int64_t>(1, schedule.total_steps - schedule.warmup_steps));
  const double fraction = std::min(1.0, done / span);
  const double floor = schedule.base_lr * schedule.min_lr_ratio;
  switch (schedule.kind) {
    case ScheduleKind::kConstant: return schedule.base_lr;
    case ScheduleKind::kCosine:
      return floor + (schedule.base_lr - floor) * 0.5 * (1 + std::cos(std::numbers::pi * fraction));
    case ScheduleKind::kLinear: return schedule.base_lr + (floor - schedule.base_lr) * fraction;
    case ScheduleKind::kStep:
      return schedule.base_lr *
             std::pow(schedule.gamma, std::floor(done / static_cast<double>(schedule.step_size)));
  }
  return schedule.base_lr;
}

}  // namespace lockstep::trainer
