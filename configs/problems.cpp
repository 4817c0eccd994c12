#include "configs/problems.hpp"

#include <algorithm>

namespace lockstep::configs {
void Problems::add(std::string message, const Place& place, std::string note) {
  if (full()) {
    ++dropped_;
    return;
  }
  Diagnostic diagnostic{.message = std::move(message), .note = std::move(note)};
  if (place.source) {
    diagnostic.file = place.source->name;
    diagnostic.line = place.line;
    diagnostic.column = place.column;
    diagnostic.length = place.length;
    diagnostic.source_line = line_of(*place.source, place.line);
  }
  found_.push_back(std::move(diagnostic));
}

void Problems::throw_if_any() const {
  if (found_.empty()) return;
  std::vector<std::string> files;
  for (const auto& diagnostic : found_) {
    if (std::find(files.begin(), files.end(), diagnostic.file) == files.end()) {
      files.push_back(diagnostic.file);
    }
  }
  const auto position = [&](const Diagnostic& diagnostic) {
    return std::find(files.begin(), files.end(), diagnostic.file) - files.begin();
  };
  auto sorted = found_;
  std::stable_sort(sorted.begin(), sorted.end(), [&](const Diagnostic& a, const Diagnostic& b) {
    if (a.file != b.file) return position(a) < position(b);
    // What concerns the file as a whole (line 0) comes after what has a line.
    if ((a.line == 0) != (b.line == 0)) return b.line == 0;
    return a.line != b.line ? a.line < b.line : a.column < b.column;
  });
  if (dropped_ > 0) {
    sorted.back() = {.message = "there are " + std::to_string(dropped_ + 1) +
                                " more problems (only the first " +
                                std::to_string(kMostDiagnostics - 1) + " are shown)",
                     .note = "fix these and try again"};
  }
  throw ConfigErrors(std::move(sorted));
}

}  // namespace lockstep::configs
