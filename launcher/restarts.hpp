#pragma once
// Whether a failed launch is started again: by its cause, a budget, and whether restarts get
// anywhere. Pure, one thread.

#include <cstdint>
#include <string>

#include "launcher/judge.hpp"

namespace lockstep::launcher {

/// What a restart can cure: a killed or hung process, a lost host, an unclassified failure. Not
/// what would happen again (configuration, data, divergence) and not what the user asked for.
bool can_be_cured(const LaunchEnd& end);

class RestartBook {
 public:
  enum class Next {
    kEnd,         ///< it ended as it should, or for a reason that stays
    kRestart,     ///< start it again
    kSpent,       ///< the budget is used up
    kNoProgress,  ///< restarts do not get past the step where it fails
  };

  /// `budget` restarts at most; 0 = never.
  explicit RestartBook(std::int64_t budget) : budget_(budget) {}

  /// Decides after a launch, and counts the restart that it asks for.
  Next decide(const LaunchEnd& end);
  std::int64_t restarts() const { return restarts_; }
  std::int64_t budget() const { return budget_; }
  /// The furthest step that was done at a failure; -1 = none.
  std::int64_t furthest_step() const { return furthest_step_; }

 private:
  std::int64_t budget_;
  std::int64_t restarts_ = 0;
  std::int64_t furthest_step_ = -1;  // at a failure so far
  int fruitless_ = 0;                // failures in a row that got no further
};

}  // namespace lockstep::launcher
