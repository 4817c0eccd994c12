#include "trainer/models/models.hpp"

#include <array>

#include "base/error.hpp"
#include "base/text.hpp"
#include "trainer/model.hpp"

namespace lockstep::trainer::models {
namespace {

struct TableRow {
  const char* name;
  bool tokens;
  std::shared_ptr<Model> (*make)(const configs::ModelConfig&, const ModelShapes&);
};

constexpr std::array kTable{
    TableRow{"mlp", false, make_mlp},
    TableRow{"cnn", false, make_cnn},
    TableRow{"resnet18", false, make_resnet18},
    TableRow{"resnet50", false, make_resnet50},
    TableRow{"gpt", true, make_gpt},
};

}  // namespace

std::shared_ptr<Model> make_model(const configs::ModelConfig& config, const ModelShapes& shapes) {
  std::vector<std::string> names;
  for (const auto& row : kTable) {
    names.emplace_back(row.name);
    if (config.name != row.name) continue;
    if (row.tokens != shapes.tokens) {
      throw base::ConfigError(
          "model '" + config.name + "' does not fit the data (" +
          (row.tokens ? "it needs a file with a 'tokens' dataset, this one has inputs and targets"
                      : "it needs inputs and targets, this file holds tokens") +
          "); choose another model.name or data.train");
    }
    return row.make(config, shapes);
  }
  throw base::ConfigError("model " + base::quote(config.name) + " is unknown (" +
                          base::joined(names) + " exist); set model.name");
}

}  // namespace lockstep::trainer::models
