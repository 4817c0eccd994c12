#pragma once
// Judges a bound configuration as a whole: what is required, and what cannot be combined. Used by
// the reader. Knobs whose own value was refused are left out, so one mistake gives one message.

#include "configs/binding.hpp"
#include "configs/problems.hpp"
#include "configs/run_config.hpp"

namespace lockstep::configs {

/// Reports to `problems`. Sets `train.reduction` to `fast` where no micro-batch is given and the
/// document leaves the reduction open. `main_file` is where missing knobs are reported.
void validate(RunConfig& config, const Binding& binding, const Place& main_file,
              Problems& problems);

}  // namespace lockstep::configs
