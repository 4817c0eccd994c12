#include "configs/diagnostic.hpp"

#include <algorithm>
#include <string_view>

namespace lockstep::configs {
namespace {

/// Colours of a terminal, or nothing.
struct Palette {
  std::string_view error, frame, strong, off;
};
constexpr Palette kColored{"\033[1;31m", "\033[1;34m", "\033[1m", "\033[0m"};
constexpr Palette kPlain{"", "", "", ""};

bool starts_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }

std::string printable(std::string_view line) {
  std::string result;
  for (const char byte : line) {
    const auto code = static_cast<unsigned char>(byte);
    result += (code < 0x20 && byte != '\t') || code == 0x7f ? '?' : byte;
  }
  return result;
}

/// Blanks as wide as the first `characters` of `line`; tabs stay, so that the caret lines up.
std::string indentation(std::string_view line, int characters) {
  std::string result;
  for (const char byte : line) {
    if (!starts_character(byte)) continue;
    if (characters-- <= 0) break;
    result += byte == '\t' ? '\t' : ' ';
  }
  if (characters > 0) result.append(static_cast<std::size_t>(characters), ' ');
  return result;
}

std::string place_of(const Diagnostic& diagnostic) {
  if (diagnostic.line == 0) return diagnostic.file;
  return diagnostic.file + ":" + std::to_string(diagnostic.line) + ":" +
         std::to_string(diagnostic.column);
}

std::string one(const Diagnostic& diagnostic, const Palette& palette) {
  const auto colored = [&](std::string_view color, const std::string& text) {
    return std::string(color) + text + std::string(palette.off);
  };
  const auto number = diagnostic.line > 0 ? std::to_string(diagnostic.line) : std::string();
  const std::string margin(std::max<std::size_t>(number.size(), 1) + 1, ' ');
  std::string text = colored(palette.error, "error") +
                     colored(palette.strong, ": " + printable(diagnostic.message)) + "\n";
  if (!diagnostic.file.empty()) {
    text += margin + colored(palette.frame, "-->") + " " + printable(place_of(diagnostic)) + "\n";
  }
  if (diagnostic.line == 0 || diagnostic.source_line.empty()) {
    if (!diagnostic.note.empty()) {
      text += margin + colored(palette.frame, "=") + " " + printable(diagnostic.note) + "\n";
    }
    return text;
  }
  const auto bar = colored(palette.frame, "|");
  const auto line = printable(diagnostic.source_line);
  const auto width = static_cast<int>(std::count_if(line.begin(), line.end(), starts_character));
  const auto before = std::max(0, diagnostic.column - 1);
  const auto carets = std::max(1, std::min(diagnostic.length, width - before));
  auto mark = std::string(static_cast<std::size_t>(carets), '^');
  if (!diagnostic.note.empty()) mark += " " + printable(diagnostic.note);
  text += margin + " " + bar + "\n";
  text += " " + colored(palette.frame, number) + " " + bar + " " + line + "\n";
  text +=
      margin + " " + bar + " " + indentation(line, before) + colored(palette.error, mark) + "\n";
  return text;
}

}  // namespace

std::string render(std::span<const Diagnostic> diagnostics, bool color) {
  std::string text;
  for (const auto& diagnostic : diagnostics) {
    if (!text.empty()) text += "\n";
    text += one(diagnostic, color ? kColored : kPlain);
  }
  return text;
}

ConfigErrors::ConfigErrors(std::vector<Diagnostic> found)
    : base::ConfigError(render(found, false)), diagnostics(std::move(found)) {}

}  // namespace lockstep::configs
