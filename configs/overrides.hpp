#pragma once
// The command line's `key=value`, `+key=value` and `~key`, applied to a document before
// interpolation. Grammar after Hydra's overrides. Pure, any thread.

#include <string>
#include <vector>

#include "configs/document.hpp"
#include "configs/knob_table.hpp"
#include "configs/problems.hpp"

namespace lockstep::configs {

/// Applies `overrides` in order; the last one for a knob wins. `root` is a mapping.
void apply_overrides(Node& root, const std::vector<std::string>& overrides, const KnobTable& table,
                     Problems& problems);

}  // namespace lockstep::configs
