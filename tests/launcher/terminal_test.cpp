#include "launcher/terminal.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.hpp"

namespace lockstep::launcher {
namespace {

using namespace std::chrono_literals;

const Style kTerminal{.terminal = true, .color = false, .unicode = true, .columns = 100};
const Style kFile{};

const Progress kMidway{.epoch = 3,
                       .epochs = 20,
                       .step = 512,
                       .steps = 1250,
                       .samples_per_second = 8400,
                       .loss = 0.2142,
                       .remaining = 41s};

TEST(Progress, IsOneLineWithABarOnATerminal) {
  EXPECT_EQ(format_progress(kTerminal, kMidway),
            "epoch 3/20  41% |████▏     | 512/1250  8.4k samples/s  loss 0.214  eta 0:41");
}

TEST(Progress, LeavesTheBarOutInAFile) {
  EXPECT_EQ(format_progress(kFile, kMidway),
            "epoch 3/20  41%  512/1250  8.4k samples/s  loss 0.214  eta 0:41");
}

TEST(Progress, UsesPlainCharactersWhereTheTerminalHasNoOthers) {
  Style style = kTerminal;
  style.unicode = false;

  EXPECT_EQ(format_progress(style, kMidway),
            "epoch 3/20  41% |####      | 512/1250  8.4k samples/s  loss 0.214  eta 0:41");
}

TEST(Progress, SaysHundredPercentOnlyWhenAllIsDone) {
  auto progress = kMidway;
  progress.step = 1249;
  EXPECT_NE(format_progress(kFile, progress).find(" 99% "), std::string::npos);

  progress.step = 1250;
  EXPECT_NE(format_progress(kFile, progress).find(" 100% "), std::string::npos);
}

TEST(Progress, CountsStepsWhenTheRunHasNoEpochsAndNoEtaWhenItIsNotKnown) {
  const Progress progress{.step = 5, .steps = 100, .samples_per_second = 950, .loss = 2.5};

  EXPECT_EQ(format_progress(kFile, progress), "step  5%  5/100  950 samples/s  loss 2.5");
}

TEST(Progress, ShowsLongWaitsInHoursAndDays) {
  auto progress = kMidway;
  progress.remaining = 1h + 2min + 3s;
  EXPECT_TRUE(format_progress(kFile, progress).ends_with("eta 1:02:03"));

  progress.remaining = 75h;
  EXPECT_TRUE(format_progress(kFile, progress).ends_with("eta 3 days"));
}

TEST(Progress, OverwritesItsLineOnATerminalAndAddsALineElsewhere) {
  EXPECT_EQ(progress_bytes(kTerminal, "abc"), "\rabc\x1b[K");
  EXPECT_EQ(progress_bytes(kFile, "abc"), "abc\n");
}

TEST(Progress, NeverWrapsOnANarrowTerminal) {
  Style style = kTerminal;
  style.columns = 20;

  const auto bytes = progress_bytes(style, format_progress(style, kMidway));

  EXPECT_EQ(bytes, "\repoch 3/20  41% |██\x1b[K");
}

RC_GTEST_PROP(Progress, FitsOneTerminalLineWhateverTheNumbers, ()) {
  const auto steps = *rc::gen::inRange<std::int64_t>(0, 1'000'000);
  const Progress progress{.epoch = *rc::gen::inRange<std::int64_t>(0, 1000),
                          .epochs = *rc::gen::inRange<std::int64_t>(0, 1000),
                          .step = *rc::gen::inRange<std::int64_t>(0, steps + 10),
                          .steps = steps,
                          .samples_per_second = *rc::gen::inRange(0, 100'000'000) * 1.0,
                          .loss = *rc::gen::inRange(-1000, 1000) * 0.37,
                          .remaining = std::chrono::seconds(*rc::gen::inRange(-1, 1'000'000))};
  Style style = kTerminal;
  style.columns = *rc::gen::inRange(1, 120);
  style.unicode = *rc::gen::arbitrary<bool>();

  auto bytes = progress_bytes(style, format_progress(style, progress));

  RC_ASSERT(bytes.find('\n') == std::string::npos);
  bytes = bytes.substr(1, bytes.size() - 4);  // without the carriage return and the erasing code
  RC_ASSERT(display_width(bytes) < static_cast<std::size_t>(std::max(style.columns, 2)));
}

TEST(Style, ShowsColorsOnATerminalUnlessItIsAskedNotTo) {
  EXPECT_TRUE(choose_style(ColorChoice::kAuto, {{"TERM", "xterm"}}, 80).color);
  EXPECT_FALSE(choose_style(ColorChoice::kAuto, {{"TERM", "xterm"}}, 0).color);
  EXPECT_FALSE(choose_style(ColorChoice::kAuto, {{"TERM", "dumb"}}, 80).color);
  EXPECT_FALSE(choose_style(ColorChoice::kAuto, {{"NO_COLOR", "1"}}, 80).color);
  EXPECT_TRUE(choose_style(ColorChoice::kAuto, {{"NO_COLOR", ""}}, 80).color);
  EXPECT_TRUE(choose_style(ColorChoice::kAlways, {{"NO_COLOR", "1"}}, 0).color);
  EXPECT_FALSE(choose_style(ColorChoice::kNever, {{"TERM", "xterm"}}, 80).color);
}

TEST(Style, DoesNotRedrawLinesOnADumbTerminal) {
  EXPECT_FALSE(choose_style(ColorChoice::kAuto, {{"TERM", "dumb"}}, 80).terminal);
}

TEST(Style, BelievesTheSupervisorAboutTheTerminalBehindMpirun) {
  const auto behind_terminal =
      choose_style(ColorChoice::kAuto, {{kTerminalVariable, "132"}, {kColorVariable, "always"}}, 0);
  EXPECT_TRUE(behind_terminal.terminal);
  EXPECT_TRUE(behind_terminal.color);
  EXPECT_EQ(behind_terminal.columns, 132);

  const auto behind_file =
      choose_style(ColorChoice::kAuto, {{kTerminalVariable, "0"}, {kColorVariable, "never"}}, 80);
  EXPECT_FALSE(behind_file.terminal);
  EXPECT_FALSE(behind_file.color);
}

TEST(Style, KeepsToAsciiWhereTheLocaleSaysSo) {
  EXPECT_FALSE(choose_style(ColorChoice::kAuto, {{"LANG", "C"}}, 80).unicode);
  EXPECT_TRUE(choose_style(ColorChoice::kAuto, {{"LANG", "en_US.UTF-8"}}, 80).unicode);
  EXPECT_FALSE(
      choose_style(ColorChoice::kAuto, {{"LANG", "en_US.UTF-8"}, {"LC_ALL", "POSIX"}}, 80).unicode);
}

TEST(ColorChoice, RefusesOtherWords) {
  try {
    color_choice("sometimes");
    FAIL() << "nothing was thrown";
  } catch (const base::ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "color 'sometimes' is not known (it decides where colors are shown); use "
                 "--color=auto, always or never");
  }
}

TEST(Paint, AddsNothingWhereThereAreNoColors) {
  EXPECT_EQ(paint(kFile, Tone::kError, "x"), "x");
  Style style = kFile;
  style.color = true;
  EXPECT_EQ(paint(style, Tone::kError, "x"), "\x1b[1;31mx\x1b[0m");
}

TEST(DisplayWidth, CountsCharactersAndNotBytesOrColorCodes) {
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("é█"), 2u);
  EXPECT_EQ(display_width("\x1b[1;31mred\x1b[0m"), 3u);
}

TEST(Table, AlignsTextLeftAndNumbersRight) {
  Table table({{"name"}, {"step", Table::Align::kRight}, {"status"}});
  table.add_row({"amber-heron", "7", "done"});
  table.add_row({"é", "12345", "running"});

  EXPECT_EQ(table.text(kFile),
            "name          step  status\n"
            "amber-heron      7  done\n"
            "é            12345  running\n");
}

TEST(Table, LeavesMissingCellsEmpty) {
  Table table({{"a"}, {"b"}});
  table.add_row({"1"});

  EXPECT_EQ(table.text(kFile), "a  b\n1\n");
}

TEST(Table, RefusesARowThatIsTooLong) {
  Table table({{"a"}});

  EXPECT_THROW(table.add_row({"1", "2"}), base::InternalError);
}

TEST(Box, FramesLabelledLines) {
  EXPECT_EQ(box(kFile, "run failed", Tone::kError, {{"cause", "killed"}, {"rank", "1"}}),
            "┌─ run failed ──┐\n"
            "│ cause  killed │\n"
            "│ rank   1      │\n"
            "└───────────────┘\n");
}

TEST(Box, WrapsLongTextsUnderTheirLabel) {
  Style style = kFile;
  style.columns = 40;
  style.unicode = false;

  EXPECT_EQ(box(style, "t", Tone::kError, {{"try", "one two three four five six seven eight"}}),
            "+- t ------------------------------+\n"
            "| try  one two three four five six |\n"
            "|      seven eight                 |\n"
            "+----------------------------------+\n");
}

RC_GTEST_PROP(Box, HasLinesOfOneWidthWhateverTheText, (const std::string& raw)) {
  std::string text;
  for (const char c : raw) text += c > 0x1f && c < 0x7f ? c : ' ';
  Style style;
  style.columns = *rc::gen::inRange(10, 140);

  const auto framed = box(style, "title", Tone::kError, {{"label", text}, {"", text}});

  std::size_t width = 0;
  std::size_t begin = 0;
  for (auto end = framed.find('\n'); end != std::string::npos; end = framed.find('\n', begin)) {
    const auto line = display_width(std::string_view(framed).substr(begin, end - begin));
    if (width == 0) width = line;
    RC_ASSERT(line == width);
    begin = end + 1;
  }
}

}  // namespace
}  // namespace lockstep::launcher
