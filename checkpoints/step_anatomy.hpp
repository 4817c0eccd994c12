#pragma once
// Where a run's steps spent their time, as its record keeps it. Plain values, any thread.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace lockstep::checkpoints {

/// Mean seconds a step of one phase: the rank with the least, the middle one, the one with the
/// most.
struct PhaseSpread {
  std::string name;  ///< data, forward, backward, exchange, optimizer, other
  double min = 0, median = 0, max = 0;
  bool operator==(const PhaseSpread&) const = default;
};

struct StepAnatomy {
  std::int64_t steps = 0;  ///< measured, since this start of the run; 0 = nothing is known
  std::vector<PhaseSpread> phases;
  int straggler = -1;  ///< the rank that the others waited for, when there clearly is one
  std::string straggler_host{};
  double straggler_excess = 0;  ///< its work beyond the median rank's, as a part of that
  bool operator==(const StepAnatomy&) const = default;
};

nlohmann::ordered_json to_json(const StepAnatomy& anatomy);
/// Throws nlohmann's exceptions for what to_json does not write.
StepAnatomy parse_step_anatomy(const nlohmann::json& json);

}  // namespace lockstep::checkpoints
