#pragma once
// How text looks to people: colors, aligned tables, boxes and the progress line. The command line,
// the supervisor and rank 0 of the worker use it. Pure functions of a Style, except for the two
// that ask the terminal; any thread; nothing here prints.

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::launcher {

enum class ColorChoice { kAuto, kAlways, kNever };

/// The choice behind `auto`, `always` or `never`. Throws ConfigError for any other word.
ColorChoice color_choice(std::string_view word);

/// What the place that text goes to can show.
struct Style {
  bool terminal = false;  ///< a line can be redrawn with a carriage return
  bool color = false;
  bool unicode = true;
  int columns = 80;
};

/// The supervisor's word to a worker about the terminal behind mpirun, which hides it: the
/// variables' names. Values: `LOCKSTEP_TERMINAL` is the number of columns, or 0 when there is no
/// terminal; `LOCKSTEP_COLOR` is `always` or `never`.
inline constexpr char kTerminalVariable[] = "LOCKSTEP_TERMINAL";
inline constexpr char kColorVariable[] = "LOCKSTEP_COLOR";

/// Decides from --color, NO_COLOR, TERM, the locale and the supervisor's word. `columns` is 0
/// when the descriptor is no terminal.
Style choose_style(ColorChoice choice, const std::map<std::string, std::string>& environment,
                   int columns);

/// Width of the terminal behind a descriptor, 0 when it is none.
int terminal_columns(int descriptor);

enum class Tone { kStrong, kFaint, kGood, kWarning, kError };
/// `text` in the tone's color, or as it is where there are no colors.
std::string paint(const Style& style, Tone tone, std::string_view text);

/// Columns that `text` takes: code points, not counting color codes.
std::size_t display_width(std::string_view text);

/// Rows of cells in aligned columns, two spaces apart; numbers flush right.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// Missing cells are empty. Throws InternalError when there are more cells than columns.
  void add_row(std::vector<std::string> cells);
  std::string text(const Style& style) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// A labelled line of a box; an empty label continues the line before.
struct BoxLine {
  std::string label;
  std::string text;
};
/// A frame around labelled lines with a title in its upper edge; long texts are wrapped at the
/// style's columns.
std::string box(const Style& style, std::string_view title, Tone tone,
                const std::vector<BoxLine>& lines);

/// Where a run is. `epochs` 0 = the run counts steps alone.
struct Progress {
  std::int64_t epoch = 0;  ///< counted from 1
  std::int64_t epochs = 0;
  std::int64_t step = 0;  ///< finished steps of `steps`
  std::int64_t steps = 0;
  double samples_per_second = 0;
  double loss = 0;
  std::chrono::nanoseconds remaining{-1};  ///< negative = not known yet
};

/// `epoch 3/20  41% |████▏     | 512/1250  8.4k samples/s  loss 0.214  eta 0:41`, without the bar
/// where the line is not redrawn.
std::string format_progress(const Style& style, const Progress& progress);

/// `writing rows  41% |████▏     |  eta 0:41`, without `eta` when `remaining` is negative.
std::string format_task(const Style& style, std::string_view phase, std::uint64_t done,
                        std::uint64_t total, std::chrono::nanoseconds remaining);

/// The bytes that show `line`: redrawn in place on a terminal, else a line of its own.
std::string progress_bytes(const Style& style, std::string_view line);

}  // namespace lockstep::launcher
