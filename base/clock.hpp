#pragma once
// Time as an input: whoever waits or stamps takes a Clock, so that tests need not sleep.
// Every method may be called from any thread.

#include <chrono>
#include <string>

namespace lockstep::base {

class Clock {
 public:
  using Duration = std::chrono::nanoseconds;
  virtual ~Clock() = default;

  /// Time since an arbitrary start; never goes back.
  virtual Duration now() const = 0;
  /// Wall time since the Unix epoch.
  virtual Duration wall() const = 0;
  virtual void sleep_for(Duration duration) = 0;

  /// The machine's own clock.
  static Clock& system();
};

/// `wall` as RFC 3339 in UTC with milliseconds: `2026-01-31T12:00:00.123Z`.
std::string format_utc(Clock::Duration wall);

}  // namespace lockstep::base
