#include "checkpoints/step_anatomy.hpp"

#include <nlohmann/json.hpp>

namespace lockstep::checkpoints {

nlohmann::ordered_json to_json(const StepAnatomy& anatomy) {
  nlohmann::ordered_json json{{"steps", anatomy.steps}};
  auto phases = nlohmann::ordered_json::array();
  for (const auto& phase : anatomy.phases) {
    phases.push_back({{"phase", phase.name},
                      {"min_seconds", phase.min},
                      {"median_seconds", phase.median},
                      {"max_seconds", phase.max}});
  }
  json["phases"] = std::move(phases);
  if (anatomy.straggler >= 0) {
    json["straggler"] = {{"rank", anatomy.straggler},
                         {"host", anatomy.straggler_host},
                         {"excess", anatomy.straggler_excess}};
  }
  return json;
}

StepAnatomy parse_step_anatomy(const nlohmann::json& json) {
  StepAnatomy anatomy;
  anatomy.steps = json.at("steps");
  for (const auto& phase : json.at("phases")) {
    anatomy.phases.push_back({.name = phase.at("phase"),
                              .min = phase.at("min_seconds"),
                              .median = phase.at("median_seconds"),
                              .max = phase.at("max_seconds")});
  }
  if (const auto straggler = json.find("straggler"); straggler != json.end()) {
    anatomy.straggler = straggler->at("rank");
    anatomy.straggler_host = straggler->at("host");
    anatomy.straggler_excess = straggler->at("excess");
  }
  return anatomy;
}

}  // namespace lockstep::checkpoints
