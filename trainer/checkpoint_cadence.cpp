#include "trainer/checkpoint_cadence.hpp"

#include <algorithm>

#include "checkpoints/cadence.hpp"

namespace lockstep::trainer {
namespace {

using Seconds = std::chrono::duration<double>;

/// Part of a running mean that a new value makes.
constexpr double kNewPart = 0.1;

}  // namespace

bool due_by_count(const configs::CheckpointConfig& config, std::int64_t steps_per_epoch,
                  std::int64_t step) {
  return step > 0 && last_due_by_count(config, steps_per_epoch, step) == step;
}

std::int64_t last_due_by_count(const configs::CheckpointConfig& config,
                               std::int64_t steps_per_epoch, std::int64_t step) {
  std::int64_t last = 0;
  for (const auto every : {config.every_steps, config.every_epochs * steps_per_epoch}) {
    if (every > 0) last = std::max(last, step - step % every);
  }
  return last;
}

CheckpointCadence::CheckpointCadence(const configs::CheckpointConfig& config,
                                     const CadenceInputs& inputs)
    : config_(config), inputs_(inputs), last_begin_(inputs.begin) {}

bool CheckpointCadence::due(std::int64_t step) const {
  return due_by_count(config_, inputs_.steps_per_epoch, step);
}

Seconds CheckpointCadence::cost() const {
  return cost_ ? Seconds(*cost_) : checkpoints::guessed_cost(inputs_.state_bytes);
}

std::optional<Seconds> CheckpointCadence::interval() const {
  if (config_.every != "auto") return std::nullopt;
  auto interval = checkpoints::best_interval(cost(), inputs_.time_between_failures);
  if (inputs_.wall_limit.count() > 0) {
    // What lies beyond the limit is not trained, so it cannot be lost.
    const auto left = inputs_.wall_limit - Seconds(last_begin_ - inputs_.begin);
    if (left.count() > 0) interval = std::min(interval, left);
  }
  return interval;
}

bool CheckpointCadence::asks(std::chrono::nanoseconds now) const {
  const Seconds since(now - last_begin_);
  if (config_.every_seconds > 0 && since.count() >= config_.every_seconds) return true;
  const auto automatic = interval();
  return automatic && since >= *automatic;
}

void CheckpointCadence::began(std::chrono::nanoseconds now) {
  last_begin_ = now;
  slowed_seconds_ = 0;
  slowed_steps_ = 0;
}

void CheckpointCadence::step_took(std::chrono::nanoseconds wall, bool saving) {
  const double seconds = Seconds(wall).count();
  if (saving) {
    slowed_seconds_ += seconds;
    ++slowed_steps_;
  } else {
    calm_seconds_ =
        calm_seconds_ == 0 ? seconds : calm_seconds_ + kNewPart * (seconds - calm_seconds_);
  }
}

void CheckpointCadence::saved(std::chrono::nanoseconds blocked) {
  const double calm =
      calm_seconds_ > 0 ? calm_seconds_ * static_cast<double>(slowed_steps_) : slowed_seconds_;
  const double measured = Seconds(blocked).count() + std::max(0.0, slowed_seconds_ - calm);
  cost_ = cost_ ? (*cost_ + measured) / 2 : measured;
}

}  // namespace lockstep::trainer
