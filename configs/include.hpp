#pragma once
// Puts a configuration together from its file and the files it names under `include:`. Used by
// the reader; reads files, otherwise a function of its arguments. Any thread.

#include <memory>
#include <string>

#include "configs/document.hpp"
#include "configs/problems.hpp"

namespace lockstep::configs {

/// Opens the file at `path`. A missing, unreadable or oversized file goes to `problems` (at
/// `asked`, where an `include:` named it) and gives null.
std::shared_ptr<const Source> open_source(const std::string& path, const Place& asked,
                                          Problems& problems);

/// The document in `source` merged over the files it includes: those come first, in order, and the
/// including file wins. Paths are relative to the including file. Always a mapping.
Node load_with_includes(std::shared_ptr<const Source> source, Problems& problems);

/// Puts `over` on top of `base`: mappings key by key, everything else as a whole.
void merge_over(Node& base, Node over);

}  // namespace lockstep::configs
