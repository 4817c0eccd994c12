#pragma once
// What is refused before YAML is parsed: texts that no configuration is, and the few that libfyaml
// 0.7.12 does not survive. Used by parse_document. Pure, any thread.

#include <memory>

#include "configs/document.hpp"
#include "configs/problems.hpp"

namespace lockstep::configs {

/// False after a problem was reported; the text must then not reach the parser.
bool check_text(const std::shared_ptr<const Source>& source, Problems& problems);

}  // namespace lockstep::configs
