#pragma once
// The files that the paths and patterns of a configuration name. Any thread.

#include <string>
#include <vector>

namespace lockstep::data {

/// Each entry of `names` in order; one with `*`, `?` or `[` stands for the files that match it
/// (glob(7)), sorted by name. Throws DataError for a pattern that matches nothing.
std::vector<std::string> dataset_paths(const std::vector<std::string>& names);

}  // namespace lockstep::data
