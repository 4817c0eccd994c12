#include "trainer/divergence.hpp"

#include <cmath>

namespace lockstep::trainer {
namespace {

constexpr char kOverflow[] = "gradients overflow f16 at loss scale ";

}  // namespace

Divergence::Divergence(const configs::DivergenceConfig& config)
    : config_(config),
      watch_({.loss_z = config.loss_z, .gradient_z = config.gradient_z, .window = config.window}) {}

bool Divergence::remembers() const { return watch_.compares() || config_.policy != "stop"; }

void Divergence::recall(const std::vector<checkpoints::LedgerEntry>& entries) {
  for (const auto& entry : entries) {
    if (is_overflow(entry.skipped)) continue;
    if (entry.skipped.empty()) {
      watch_.accept(entry.loss, entry.gradient_norm);
    } else {
      ++skipped_;
    }
  }
}

Divergence::Decision Divergence::judge(const StepResult& result) {
  Decision decision;
  if (result.overflowed) return decision;
  decision.reason = watch_.problem(result.loss, result.gradient_norm);
  if (decision.reason.empty()) {
    watch_.accept(result.loss, result.gradient_norm);
    return decision;
  }
  if (config_.policy == "stop") {
    decision.action = Action::kStop;
  } else if (skipped_ == config_.most_skips) {
    decision.action = Action::kStop;
    decision.reason += ", and " + std::to_string(skipped_) +
                       " steps were dropped before, all that train.divergence.most_skips allows";
  } else {
    ++skipped_;
    decision.action = config_.policy == "skip" ? Action::kSkip : Action::kRollback;
  }
  return decision;
}

const char* name_of(Divergence::Action action) {
  switch (action) {
    case Divergence::Action::kNone: return "none";
    case Divergence::Action::kStop: return "stop";
    case Divergence::Action::kSkip: return "skip";
    case Divergence::Action::kRollback: return "rollback";
  }
  return "unknown";
}

std::string overflow_at(double loss_scale) {
  return kOverflow + std::to_string(static_cast<std::int64_t>(loss_scale));
}

bool is_overflow(const std::string& skipped) { return skipped.starts_with(kOverflow); }

std::vector<std::int64_t> samples_of(const data::LoaderPlan& plan, std::int64_t step) {
  std::vector<std::int64_t> samples, rows;
  data::MicroBatchRows rows_of(plan);
  for (std::int64_t i = 0; i < plan.global_batch / plan.micro_batch; ++i) {
    rows_of(step, i, rows);
    samples.insert(samples.end(), rows.begin(), rows.end());
  }
  return samples;
}

}  // namespace lockstep::trainer
