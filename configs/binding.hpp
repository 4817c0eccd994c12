#pragma once
// Binds a document to the knobs: unknown keys, wrong types and single values out of range are
// reported, everything else is stored. Used by the reader. Pure, one thread.

#include <map>
#include <set>
#include <string>

#include "configs/document.hpp"
#include "configs/knob_table.hpp"
#include "configs/problems.hpp"

namespace lockstep::configs {

/// What the document said about the knobs.
struct Binding {
  std::map<std::string, const Node*> values;  ///< of each knob that was given, into the document
  std::map<std::string, Place> keys;          ///< of knobs and sections that were given
  std::set<std::string> refused;              ///< knobs whose value was reported
};

/// Stores the values of `root`, a mapping that must outlive the result, through `table`.
Binding bind(const Node& root, const KnobTable& table, Problems& problems);

}  // namespace lockstep::configs
