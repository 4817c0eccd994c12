#pragma once
// The progress line of a command that works alone for a while, such as an import: on a terminal
// alone, redrawn in place, not before a second has passed. One thread.

#include <cstdint>
#include <string_view>

#include "base/clock.hpp"
#include "launcher/terminal.hpp"

namespace lockstep::launcher {

class TaskLine {
 public:
  explicit TaskLine(const Style& style, const base::Clock& clock = base::Clock::system())
      : style_(style), clock_(clock), start_(clock.now()) {}
  /// Takes the line off the terminal again.
  ~TaskLine();
  TaskLine(const TaskLine&) = delete;
  TaskLine& operator=(const TaskLine&) = delete;

  /// Draws `phase  41% |████▏     |  eta 0:41` to standard error when a redraw is due.
  void show(std::string_view phase, std::uint64_t done, std::uint64_t total);
  /// The line for this, or nothing when no redraw is due. What `show` draws.
  std::string due(std::string_view phase, std::uint64_t done, std::uint64_t total);

 private:
  Style style_;
  const base::Clock& clock_;
  base::Clock::Duration start_;
  std::string phase_;
  base::Clock::Duration phase_start_{};
  base::Clock::Duration last_drawn_{};
  bool drawn_ = false;
};

}  // namespace lockstep::launcher
