#include "launcher/restarts.hpp"

#include "base/error.hpp"

namespace lockstep::launcher {
namespace {

/// Two may be chance: processes killed while those killed before are being replaced.
constexpr int kMostFruitless = 3;

}  // namespace

bool can_be_cured(const LaunchEnd& end) {
  if (!end.verdict || end.exit_code != static_cast<int>(base::ExitCode::kFailed)) return false;
  return end.verdict->exit_code == static_cast<int>(base::ExitCode::kFailed);
}

RestartBook::Next RestartBook::decide(const LaunchEnd& end) {
  if (!can_be_cured(end) || budget_ == 0) return Next::kEnd;
  if (end.step > furthest_step_) {
    furthest_step_ = end.step;
    fruitless_ = 0;
  } else if (++fruitless_ >= kMostFruitless) {
    return Next::kNoProgress;
  }
  if (restarts_ == budget_) return Next::kSpent;
  ++restarts_;
  return Next::kRestart;
}

}  // namespace lockstep::launcher
