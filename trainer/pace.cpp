#include "trainer/pace.hpp"

namespace lockstep::trainer {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

/// Of a shared core, one part in so many.
constexpr int kShare = 16;
/// A glance at whether somebody else wants the core: on an idle one it is all that is lost.
constexpr microseconds kGlance{50};
constexpr milliseconds kBetweenGlances{4};
/// Later than the timer is: another thread ran.
constexpr microseconds kLate{300};
/// Over so much time the other threads' use of the cores is looked at.
constexpr milliseconds kWindow{20};
constexpr milliseconds kMemory{200};

}  // namespace

Pace::Duration Pace::rest(Duration now, Spent spent) {
  window_busy_ += spent.others;
  if (const auto window = now - window_begin_; window >= kWindow) {
    // Half of them: a thread that waits for other ranks now and then leaves a core that is shared.
    if (window_busy_ * 2 > window * cores_) shared_until_ = now + kMemory;
    window_begin_ = now;
    window_busy_ = Duration{0};
  }
  since_rest_ += spent.mine;
  const bool shared = now < shared_until_;
  if (!shared && since_rest_ < kBetweenGlances) return Duration{0};
  const auto due = shared ? since_rest_ * (kShare - 1) : Duration{kGlance};
  since_rest_ = Duration{0};
  return due;
}

void Pace::rested(Duration now, Duration late) {
  if (late >= kLate) shared_until_ = now + kMemory;
}

}  // namespace lockstep::trainer
