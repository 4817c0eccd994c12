#pragma once
// Faults that a drill asks a rank to make on purpose, through LOCKSTEP_FAULT. Read once at the
// start and passed to who passes the places where a fault can strike; a run without the variable
// has an empty plan, which costs one comparison a place.
//   LOCKSTEP_FAULT="kill rank=1 phase=save step=4; slow rank=0 milliseconds=20"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/position.hpp"

namespace lockstep::base {

struct Fault {
  enum class Kind {
    kKill,      ///< SIGKILL to this process
    kSegfault,  ///< SIGSEGV to this process
    kFreeze,    ///< SIGSTOP to this process
    kSlow,      ///< sleeps at every such place
    kHang,      ///< sleeps for ever
    kExit,      ///< leaves at once with code 1, without a word
    kNan,       ///< asked for by name where gradients are: see FaultPlan::wants
    kCorrupt,   ///< likewise: a bit of this node's parameters flips
    kDiskFull,  ///< likewise where checkpoint files are written
    kMismatch,  ///< likewise where collectives are called
  };
  Kind kind = Kind::kKill;
  int rank = 0;
  Phase phase = Phase::kStep;
  std::int64_t step = -1;          ///< finished steps at that place; negative = any
  std::int64_t delay_us = 0;       ///< strikes so much later, from a thread of its own
  std::int64_t milliseconds = 20;  ///< of kSlow
  int attempt = 0;                 ///< restarts before; negative = in every attempt
};

class FaultPlan {
 public:
  FaultPlan() = default;
  /// `text` as above. Throws ConfigError naming the part that is not understood.
  static FaultPlan parse(std::string_view text);
  /// The faults of this rank in this attempt.
  FaultPlan for_rank(int rank, int attempt) const;

  bool empty() const { return faults_.empty(); }
  /// Called when the rank comes to `phase` with `step` finished steps: strikes with kKill to kExit.
  void reached(Phase phase, std::int64_t step) const {
    if (!faults_.empty()) strike(phase, step);
  }
  /// Whether a fault of a kind that its place makes itself is due.
  bool wants(Fault::Kind kind, Phase phase, std::int64_t step) const;
  const std::vector<Fault>& faults() const { return faults_; }

 private:
  void strike(Phase phase, std::int64_t step) const;
  std::vector<Fault> faults_;
};

}  // namespace lockstep::base
