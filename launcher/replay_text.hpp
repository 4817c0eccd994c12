#pragma once
// What `replay` prints for people. Pure; for the worker.

#include <string>

#include "launcher/terminal.hpp"
#include "trainer/replay.hpp"

namespace lockstep::launcher {

std::string replay_text(const trainer::ReplayReport& report, const Style& style);

}  // namespace lockstep::launcher
