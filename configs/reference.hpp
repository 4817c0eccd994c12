#pragma once
// The knobs, explained: for people (Markdown, `config explain`) and for editors (JSON Schema).
// All of it comes from run_config.hpp. Pure functions, any thread.

#include <string>

#include "configs/reader.hpp"

namespace lockstep::configs {

/// Every knob with type, default, allowed values and effect, a table for each section.
std::string reference_markdown();

/// JSON Schema, draft 2020-12, of a configuration file.
std::string json_schema();

/// A knob's value, where it came from, what it does and what it may be; for a section, all of its
/// knobs. `key` may be any unique end of the name: `lr` and `train.lr` are train.optimizer.lr.
/// Throws ConfigError for an unknown or ambiguous key, with the nearest names.
std::string explain(const LoadedConfig& loaded, const std::string& key);

}  // namespace lockstep::configs
