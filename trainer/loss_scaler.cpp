#include "trainer/loss_scaler.hpp"

namespace lockstep::trainer {
namespace {

constexpr double kLeast = 1, kMost = 1.0 * (std::int64_t{1} << 40);

}  // namespace

LossScale next_loss_scale(const LossScale& now, bool overflowed, const LossScaleOptions& options) {
  LossScale next = now;
  if (overflowed) {
    ++next.overflows;
    next.good_steps = 0;
    if (now.factor > kLeast) next.factor = now.factor / 2;
    return next;
  }
  if (++next.good_steps < options.growth_steps) return next;
  next.good_steps = 0;
  if (now.factor < kMost) next.factor = now.factor * 2;
  return next;
}

bool is_smallest(const LossScale& scale) { return scale.factor <= kLeast; }

}  // namespace lockstep::trainer
