#pragma once
// What a run knows beside its state, kept with it in checkpoints and in memory: where it comes
// from, its newest metrics, which checkpoint is the best, which update was dropped. Pure, any
// thread.

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "trainer/loss_scaler.hpp"
#include "trainer/objective.hpp"

namespace lockstep::trainer {

struct RunMetadata {
  std::string run;  ///< its name
  std::string config_hash;
  std::string data_fingerprint;  ///< of the training data
  std::int64_t seed = 0;
  int world_size = 1;
  std::map<std::string, double> metrics{};  ///< of the newest evaluation
  std::int64_t metrics_step = -1;           ///< its step; -1 = there was none
  std::int64_t best_step = -1;              ///< of the best checkpoint; -1 = there is none
  double best_value = 0;
  std::int64_t dropped_step = -1;  ///< the newest whose update was dropped, and why
  std::string dropped_reason{};
  std::optional<LossScale> loss_scale{};  ///< of the next step, in f16
};

std::string to_json(const RunMetadata& metadata);
/// Takes from `text` what it has of metrics, best checkpoint, dropped update and loss scale;
/// `metadata` keeps the rest. Returns the configuration's hash in `text`.
std::string take_from_json(const std::string& text, RunMetadata& metadata);

/// The state after `step` becomes the best one when the metrics are its own, and better.
void consider_best(std::int64_t step, const BestMetric& by, RunMetadata& metadata);

}  // namespace lockstep::trainer
