#pragma once
// Replaces `${env:NAME}`, `${env:NAME,default}` and `${section.key}` in a document; `$${` stands
// for the two characters `${`. Used by the reader, after includes and overrides. Pure, any thread.

#include <map>
#include <string>

#include "configs/document.hpp"
#include "configs/knob_table.hpp"
#include "configs/problems.hpp"

namespace lockstep::configs {

/// A reference to a knob that the document does not set gives the knob's default, from `table`.
void interpolate(Node& root, const std::map<std::string, std::string>& environment,
                 const KnobTable& table, Problems& problems);

}  // namespace lockstep::configs
