#pragma once
// The factor on the loss of training in 16-bit floats of 5 exponent bits (f16): small gradients
// vanish without one, and a step whose gradients overflow with it is left out (Micikevicius et al.
// 2018, "Mixed precision training", section 3.2; the rule is that of torch.amp.GradScaler). A pure
// function of what happened in the steps before, which all ranks share: all decide alike. Used by
// TrainStep. Any thread.

#include <cstdint>

namespace lockstep::trainer {

/// All that is known of the steps before; kept with the state.
struct LossScale {
  double factor = 1;            ///< a power of two: exact to multiply by and to divide by
  std::int64_t good_steps = 0;  ///< since it last changed
  std::int64_t overflows = 0;   ///< steps left out since the run's start
  bool operator==(const LossScale&) const = default;
};

struct LossScaleOptions {
  double initial = 65536;
  std::int64_t growth_steps = 2000;  ///< steps without overflow after which the factor doubles
};

/// What the next step's is, after a step with `now` that overflowed or not.
LossScale next_loss_scale(const LossScale& now, bool overflowed, const LossScaleOptions& options);
/// Whether nothing is gained by a smaller one: gradients that overflow then are no numbers.
bool is_smallest(const LossScale& scale);

}  // namespace lockstep::trainer
