#include "configs/problems.hpp"

#include <algorithm>
#include <string_view>

namespace lockstep::configs {
namespace {

// A longer line cannot be read on a terminal anyway.
constexpr std::size_t kMostLineBytes = 400;

std::string line_of(const Source& source, int line) {
  std::string_view rest = source.text;
  for (int i = 1; i < line; ++i) {
    const auto end = rest.find('\n');
    if (end == std::string_view::npos) return {};
    rest.remove_prefix(end + 1);
  }
  rest = rest.substr(0, rest.find('\n'));
  if (!rest.empty() && rest.back() == '\r') rest.remove_suffix(1);
  return rest.size() <= kMostLineBytes ? std::string(rest) : std::string();
}

}  // namespace

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
    if (place.line > 0) diagnostic.source_line = line_of(*place.source, place.line);
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
