#pragma once
// The table of shipped models. A maker reads its knobs from ModelConfig and the shapes from the
// data, builds the modules, and leaves their initialisation to torch's default generator, which
// the caller has seeded.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "configs/run_config.hpp"

namespace lockstep::trainer {

class Model;

/// What the data says about a model's ends.
struct ModelShapes {
  std::vector<std::int64_t> input_shape;  ///< one sample, without the batch axis
  std::int64_t outputs = 0;               ///< classes, vocabulary, or numbers of one target
  bool tokens = false;                    ///< inputs are token windows [context]
};

namespace models {

/// Makes the model that `config.name` names. Throws ConfigError for an unknown name and for data
/// that the model cannot take.
std::shared_ptr<Model> make_model(const configs::ModelConfig& config, const ModelShapes& shapes);

std::shared_ptr<Model> make_mlp(const configs::ModelConfig& config, const ModelShapes& shapes);
std::shared_ptr<Model> make_cnn(const configs::ModelConfig& config, const ModelShapes& shapes);
std::shared_ptr<Model> make_resnet18(const configs::ModelConfig& config, const ModelShapes& shapes);
std::shared_ptr<Model> make_resnet50(const configs::ModelConfig& config, const ModelShapes& shapes);
std::shared_ptr<Model> make_gpt(const configs::ModelConfig& config, const ModelShapes& shapes);

}  // namespace models
}  // namespace lockstep::trainer
