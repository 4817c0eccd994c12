#include "trainer/run_metadata.hpp"

#include <nlohmann/json.hpp>

namespace lockstep::trainer {

std::string to_json(const RunMetadata& metadata) {
  nlohmann::ordered_json json;
  json["run"] = metadata.run;
  json["config_hash"] = metadata.config_hash;
  json["data_fingerprint"] = metadata.data_fingerprint;
  json["seed"] = metadata.seed;
  json["world_size"] = metadata.world_size;
  json["metrics"] = metadata.metrics;
  json["metrics_step"] = metadata.metrics_step;
  if (metadata.best_step >= 0) {
    json["best"] = {{"step", metadata.best_step}, {"value", metadata.best_value}};
  }
  if (metadata.dropped_step >= 0) {
    json["dropped"] = {{"step", metadata.dropped_step}, {"reason", metadata.dropped_reason}};
  }
  if (const auto& scale = metadata.loss_scale) {
    json["loss_scale"] = {{"factor", scale->factor},
                          {"good_steps", scale->good_steps},
                          {"overflows", scale->overflows}};
  }
  return json.dump();
}

std::string take_from_json(const std::string& text, RunMetadata& metadata) {
  const auto json = nlohmann::json::parse(text);
  if (const auto best = json.find("best"); best != json.end() && best->is_object()) {
    metadata.best_step = best->value("step", std::int64_t{-1});
    metadata.best_value = best->value("value", 0.0);
  }
  if (const auto metrics = json.find("metrics"); metrics != json.end()) {
    metadata.metrics = metrics->get<std::map<std::string, double>>();
  }
  metadata.metrics_step = json.value("metrics_step", metadata.metrics_step);
  if (const auto dropped = json.find("dropped"); dropped != json.end()) {
    metadata.dropped_step = dropped->value("step", std::int64_t{-1});
    metadata.dropped_reason = dropped->value("reason", "");
  }
  if (const auto scale = json.find("loss_scale"); scale != json.end()) {
    metadata.loss_scale = LossScale{.factor = scale->at("factor"),
                                    .good_steps = scale->at("good_steps"),
                                    .overflows = scale->at("overflows")};
  }
  return json.value("config_hash", "");
}

void consider_best(std::int64_t step, const BestMetric& by, RunMetadata& metadata) {
  if (metadata.metrics_step != step) return;
  const double value = metadata.metrics.at(by.name);
  const bool better =
      by.larger_is_better ? value > metadata.best_value : value < metadata.best_value;
  if (metadata.best_step >= 0 && !better) return;
  metadata.best_step = step;
  metadata.best_value = value;
}

}  // namespace lockstep::trainer
