#pragma once
// What is wrong with a configuration, with its place in a file, and how it is shown.
// Made by the reader, shown by the mains. Plain values, any thread.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace lockstep::configs {

/// At most so many are reported; the last one then says how many more there are.
inline constexpr std::size_t kMostDiagnostics = 50;

struct Diagnostic {
  std::string message;
  std::string file = {};
  int line = 0;    ///< from 1; 0 = the file as a whole
  int column = 0;  ///< from 1, in characters
  int length = 0;  ///< characters to underline
  std::string source_line = {};
  std::string note = {};  ///< what to do, such as `did you mean 'epochs'?`; may be empty
};

/// rustc-style: message, `--> file:line:column`, the line, a caret with the note. Control
/// characters of the file are shown as `?`, so a file cannot drive the terminal.
std::string render(std::span<const Diagnostic> diagnostics, bool color);

/// Everything that is wrong with a configuration. `what()` is `render(diagnostics, false)`.
class ConfigErrors : public base::ConfigError {
 public:
  explicit ConfigErrors(std::vector<Diagnostic> found);
  std::vector<Diagnostic> diagnostics;
};

}  // namespace lockstep::configs
