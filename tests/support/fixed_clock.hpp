#pragma once
// A clock that stands still until it is told to go on. For tests of one thread.

#include "base/clock.hpp"

namespace lockstep::tests {

class FixedClock final : public base::Clock {
 public:
  Duration now() const override { return time_; }
  Duration wall() const override { return time_; }
  void sleep_for(Duration duration) override { time_ += duration; }

 private:
  Duration time_{0};
};

}  // namespace lockstep::tests
