#include "launcher/terminal.hpp"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::launcher {
namespace {

constexpr int kDefaultColumns = 80;
constexpr int kWidestBox = 100;

struct Frame {
  const char* top_left;
  const char* top_right;
  const char* bottom_left;
  const char* bottom_right;
  const char* horizontal;
  const char* vertical;
};
constexpr Frame kUnicodeFrame{"┌", "┐", "└", "┘", "─", "│"};
constexpr Frame kAsciiFrame{"+", "+", "+", "+", "-", "|"};

const std::string* find(const std::map<std::string, std::string>& variables,
                        const std::string& name) {
  const auto place = variables.find(name);
  return place == variables.end() || place->second.empty() ? nullptr : &place->second;
}

bool locale_shows_unicode(const std::map<std::string, std::string>& environment) {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const auto* locale = find(environment, name);
    if (locale == nullptr) continue;
    std::string lower(*locale);
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
    return lower.find("utf-8") != std::string::npos || lower.find("utf8") != std::string::npos;
  }
  return true;
}

const char* color_code(Tone tone) {
  switch (tone) {
    case Tone::kStrong: return "1";
    case Tone::kFaint: return "2";
    case Tone::kGood: return "1;32";
    case Tone::kWarning: return "1;33";
    case Tone::kError: return "1;31";
  }
  return "0";
}

std::string repeated(std::string_view text, std::size_t count) {
  std::string result;
  result.reserve(text.size() * count);
  for (std::size_t i = 0; i < count; ++i) result += text;
  return result;
}

std::string padded(std::string_view text, std::size_t width, Table::Align align) {
  const auto have = display_width(text);
  const std::string space(width > have ? width - have : 0, ' ');
  return align == Table::Align::kRight ? space + std::string(text) : std::string(text) + space;
}

/// Bytes of the longest start of `text` that takes at most `width` columns.
std::size_t fitting_bytes(std::string_view text, std::size_t width) {
  std::size_t bytes = 0;
  for (std::size_t columns = 0; bytes < text.size(); ++columns) {
    if (columns == width) break;
    ++bytes;
    while (bytes < text.size() && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) {
      ++bytes;
    }
  }
  return bytes;
}

std::vector<std::string> wrapped(std::string_view text, std::size_t width) {
  std::vector<std::string> lines;
  for (;;) {
    const auto newline = text.find('\n');
    auto rest = text.substr(0, newline);
    while (display_width(rest) > width) {
      auto cut = fitting_bytes(rest, width);
      auto next = cut;
      if (const auto space = rest.rfind(' ', cut); space != std::string_view::npos && space > 0) {
        cut = space;
        next = space + 1;
      }
      lines.emplace_back(rest.substr(0, cut));
      rest.remove_prefix(next);
    }
    lines.emplace_back(rest);
    if (newline == std::string_view::npos) return lines;
    text.remove_prefix(newline + 1);
  }
}

/// `0:41`, `12:05`, `1:02:03`, `3 days`.
std::string format_clock(std::chrono::nanoseconds time) {
  const auto seconds = std::chrono::round<std::chrono::seconds>(time).count();
  if (seconds >= 48L * 3600) return fmt::format("{} days", seconds / 86400);
  if (seconds >= 3600) {
    return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
  }
  return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
}

std::string progress_bar(bool unicode, double share) {
  constexpr std::size_t kCells = 10;
  static constexpr std::array kEighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  if (!unicode) {
    const auto full = static_cast<std::size_t>(share * double{kCells});
    return std::string(full, '#') + std::string(kCells - full, ' ');
  }
  const auto eighths = static_cast<std::size_t>(std::lround(share * double{8 * kCells}));
  const auto full = eighths / 8;
  const std::size_t part = eighths % 8;
  return repeated("█", full) + kEighths.at(part) +
         std::string(kCells - full - (part > 0 ? 1 : 0), ' ');
}

}  // namespace

ColorChoice color_choice(std::string_view word) {
  if (word == "auto") return ColorChoice::kAuto;
  if (word == "always") return ColorChoice::kAlways;
  if (word == "never") return ColorChoice::kNever;
  throw base::ConfigError("color " + base::quote(word) +
                          " is not known (it decides where colors are shown); use --color=auto, "
                          "always or never");
}

Style choose_style(ColorChoice choice, const std::map<std::string, std::string>& environment,
                   int columns) {
  Style style;
  if (const auto* word = find(environment, kTerminalVariable)) {
    std::from_chars(word->data(), word->data() + word->size(), columns);
  }
  const auto* term = find(environment, "TERM");
  const bool dumb = term != nullptr && *term == "dumb";
  style.terminal = columns > 0 && !dumb;
  style.columns = columns > 0 ? columns : kDefaultColumns;
  style.unicode = !dumb && locale_shows_unicode(environment);
  if (choice == ColorChoice::kAuto) {
    if (const auto* word = find(environment, kColorVariable)) {
      choice = *word == "always" ? ColorChoice::kAlways : ColorChoice::kNever;
    }
  }
  const bool wanted = style.terminal && find(environment, "NO_COLOR") == nullptr;
  style.color = choice == ColorChoice::kAlways || (choice == ColorChoice::kAuto && wanted);
  return style;
}

int terminal_columns(int descriptor) {
  if (isatty(descriptor) == 0) return 0;
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kDefaultColumns;
  return size.ws_col;
}

std::string paint(const Style& style, Tone tone, std::string_view text) {
  if (!style.color || text.empty()) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", color_code(tone), text);
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b' && i + 1 < text.size() && text[i + 1] == '[') {
      while (i < text.size() && text[i] != 'm') ++i;
      continue;
    }
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) ++width;
  }
  return width;
}

void Table::add_row(std::vector<std::string> cells) {
  LOCKSTEP_EXPECT(cells.size() <= columns_.size(), "a table row has more cells than columns");
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::text(const Style& style) const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    auto width = display_width(columns_[c].title);
    for (const auto& row : rows_) width = std::max(width, display_width(row[c]));
    widths.push_back(width);
  }
  std::string text;
  const auto add_line = [&](const auto& cell_at) {
    std::string line;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (c > 0) line += "  ";
      line += padded(cell_at(c), widths[c], columns_[c].align);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    return line;
  };
  text += paint(style, Tone::kStrong, add_line([&](std::size_t c) { return columns_[c].title; }));
  text += '\n';
  for (const auto& row : rows_) {
    text += add_line([&](std::size_t c) { return row[c]; });
    text += '\n';
  }
  return text;
}

std::string box(const Style& style, std::string_view title, Tone tone,
                const std::vector<BoxLine>& lines) {
  const Frame& frame = style.unicode ? kUnicodeFrame : kAsciiFrame;
  const auto widest = static_cast<std::size_t>(std::clamp(style.columns, 40, kWidestBox)) - 4;
  std::size_t label_width = 0;
  for (const auto& line : lines) label_width = std::max(label_width, display_width(line.label));
  const auto indent = label_width == 0 ? 0 : label_width + 2;
  const auto text_width = widest > indent + 10 ? widest - indent : 10;

  std::vector<std::string> rows;
  std::size_t inner = display_width(title) + 2;
  for (const auto& line : lines) {
    auto label = line.label;
    for (const auto& part : wrapped(line.text, text_width)) {
      auto row = indent == 0 ? part : padded(label, indent, Table::Align::kLeft) + part;
      inner = std::max(inner, display_width(row));
      rows.push_back(std::move(row));
      label.clear();
    }
  }

  const auto edge = [&](std::string_view text) { return paint(style, tone, text); };
  std::string text =
      edge(fmt::format("{}{} ", frame.top_left, frame.horizontal)) + paint(style, tone, title) +
      edge(" " + repeated(frame.horizontal, inner - display_width(title) - 1) + frame.top_right) +
      "\n";
  for (const auto& row : rows) {
    text += edge(frame.vertical) + " " + padded(row, inner, Table::Align::kLeft) + " " +
            edge(frame.vertical) + "\n";
  }
  return text +
         edge(frame.bottom_left + repeated(frame.horizontal, inner + 2) + frame.bottom_right) +
         "\n";
}

std::string format_progress(const Style& style, const Progress& progress) {
  const double share =
      progress.steps <= 0
          ? 0.0
          : std::clamp(static_cast<double>(progress.step) / static_cast<double>(progress.steps),
                       0.0, 1.0);
  std::string text;
  if (progress.epochs > 0) {
    text += fmt::format("epoch {}/{}  ", progress.epoch, progress.epochs);
  } else {
    text += "step  ";
  }
  const auto percent = std::lround(share * 100);
  // 100% is said of what is finished.
  text += fmt::format("{}%", share < 1 ? std::min(percent, 99L) : percent);
  if (style.terminal) {
    text += fmt::format(" |{}| {}/{}", progress_bar(style.unicode, share), progress.step,
                        progress.steps);
  } else {
    text += fmt::format("  {}/{}", progress.step, progress.steps);
  }
  text += fmt::format("  {} samples/s", base::format_rate(progress.samples_per_second));
  text += fmt::format("  loss {:.3g}", progress.loss);
  if (progress.remaining.count() >= 0) text += "  eta " + format_clock(progress.remaining);
  return text;
}

std::string format_task(const Style& style, std::string_view phase, std::uint64_t done,
                        std::uint64_t total, std::chrono::nanoseconds remaining) {
  const double share =
      total == 0 ? 0.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const auto percent = share < 1 ? std::min(std::lround(share * 100), 99L) : 100L;
  return fmt::format("{}  {}% |{}|{}", phase, percent, progress_bar(style.unicode, share),
                     remaining.count() >= 0 ? "  eta " + format_clock(remaining) : "");
}

std::string progress_bytes(const Style& style, std::string_view line) {
  if (!style.terminal) return std::string(line) + "\n";
  const auto width = static_cast<std::size_t>(std::max(style.columns - 1, 1));
  return "\r" + std::string(line.substr(0, fitting_bytes(line, width))) + "\x1b[K";
}

}  // namespace lockstep::launcher
