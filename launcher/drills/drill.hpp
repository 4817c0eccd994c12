#pragma once
// What a drill is: a run that is broken on purpose, and how it must end all the same. The table of
// all drills; `lockstep drill` runs them. Pure values, any thread.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/position.hpp"

namespace lockstep::launcher {

/// Every drill's run, as DrillLab configures it: the table's steps are chosen by these. A save that
/// is due while another one is under way waits, but for one that an evaluation goes before: so
/// faults in saves strike at evaluations.
inline constexpr std::int64_t kDrillSteps = 60;
inline constexpr std::int64_t kDrillSaveEvery = 10;
inline constexpr std::int64_t kDrillEvaluateEvery = 20;
inline constexpr int kMostDrillRanks = 16;

/// A signal to the running `lockstep` itself.
struct DrillSignal {
  int number = 0;
  base::Phase phase = base::Phase::kStep;  ///< sent when a rank is in it ...
  std::int64_t step = 0;                   ///< ... with so many finished steps, or more
};

/// One call of `lockstep`.
struct DrillLaunch {
  enum class Verb { kTrain, kResume };
  enum class Damage { kNone, kFlippedByte };
  Verb verb = Verb::kTrain;
  int ranks = 2;
  std::string fault{};                   ///< LOCKSTEP_FAULT
  std::vector<std::string> overrides{};  ///< of `train`
  std::optional<DrillSignal> signal{};
  Damage damage = Damage::kNone;  ///< done to the newest checkpoint before this call
  int exit_code = 0;              ///< it must end with; 128 + number when a signal ended it
};

/// How the run must be in the end, besides: every step once in the ledger, a run that `verify`
/// finds good, no process and no shared memory left.
struct DrillExpectation {
  enum class State { kAsUndisturbed, kAny };
  std::string status = "done";
  State state = State::kAsUndisturbed;
  int restarts = 0;
  std::string cause{};              ///< of every failure that is noted; empty = none may be
  std::string event{};              ///< must be noted; empty = no matter
  std::string says{};               ///< must be among the messages; empty = no matter
  int straggler = -1;               ///< rank that the run's record must name
  std::int64_t least_repeated = 0;  ///< steps that must have been computed again
};

struct Drill {
  std::string name;
  std::string summary;  ///< what is done to the run
  std::vector<DrillLaunch> launches;
  DrillExpectation expectation{};
};

/// All drills, for runs on `ranks` ranks, in the order in which they are run.
std::vector<Drill> all_drills(int ranks);

/// Those of `all` that are named, in the order of `all`; all when none is named. Throws ConfigError
/// with the nearest name for one that there is not.
std::vector<Drill> choose_drills(std::vector<Drill> all, std::span<const std::string> names);

}  // namespace lockstep::launcher
