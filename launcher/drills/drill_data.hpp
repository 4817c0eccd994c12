#pragma once
// The datasets that drills train on. Local; one thread.

#include <string>

namespace lockstep::launcher {

/// Writes `train.h5`, a small classification, and `nan.h5`, where one sample is no number, into
/// `folder`. Throws IoError when they cannot be written.
void write_drill_data(const std::string& folder);

}  // namespace lockstep::launcher
