#pragma once
// A configuration as text for later: YAML that can be run again, JSON for records, and the hash
// that says whether two runs should end with the same state. Pure functions, any thread.

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "configs/reader.hpp"
#include "configs/run_config.hpp"

namespace lockstep::configs {

/// Every knob with its value; reading it gives the same configuration. `origins` (may be null)
/// become trailing comments.
std::string to_yaml(const RunConfig& config, const std::map<std::string, Origin>* origins);

/// Sections as objects, knobs as values.
nlohmann::json to_json(const RunConfig& config);

/// SHA-256, as 64 hexadecimal digits, over the knobs that may change the trained state. Paths of
/// data, ranks, launcher, run name, logging and checkpoint rhythm do not count. Canonical form:
/// see README.md.
std::string config_hash(const RunConfig& config);

}  // namespace lockstep::configs
