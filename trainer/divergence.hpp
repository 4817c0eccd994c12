#pragma once
// What a run does about steps that diverge, by train.divergence: the decision, which all ranks make
// alike from the numbers that they share, and the memory that it needs, brought back from the
// ledger after a restart. Used by Trainer. One object a rank, one thread.

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoints/ledger.hpp"
#include "configs/run_config.hpp"
#include "data/loader_plan.hpp"
#include "trainer/divergence_watch.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::trainer {

class Divergence {
 public:
  enum class Action { kNone, kStop, kSkip, kRollback };
  struct Decision {
    Action action = Action::kNone;
    std::string reason;
  };

  explicit Divergence(const configs::DivergenceConfig& config);

  /// Whether a restarted run must recall what the steps before were.
  bool remembers() const;
  /// Takes the steps of a ledger into account.
  void recall(const std::vector<checkpoints::LedgerEntry>& entries);
  /// Decides about the step of this result, and takes it into account.
  Decision judge(const StepResult& result);

 private:
  configs::DivergenceConfig config_;
  DivergenceWatch watch_;
  std::int64_t skipped_ = 0;
};

const char* name_of(Divergence::Action action);

/// What the ledger says of a step whose gradients overflowed in f16: that is no divergence.
std::string overflow_at(double loss_scale);
bool is_overflow(const std::string& skipped);

/// The numbers of all samples of step `step` (0-based), in order.
std::vector<std::int64_t> samples_of(const data::LoaderPlan& plan, std::int64_t step);

}  // namespace lockstep::trainer
