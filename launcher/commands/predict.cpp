// `predict RUN|CHECKPOINT --output F.h5`: ordered predictions of a trained model.

#include <CLI/CLI.hpp>

#include "base/output_path.hpp"
#include "launcher/commands/use_model.hpp"

namespace lockstep::launcher {
namespace {

class Predict final : public Command {
 public:
  void declare(CLI::App& app) override {
    model_.declare(app);
    app.add_option("--output", output_, "HDF5 file to write; after a kill the same command goes on")
        ->required()
        ->type_name("F.h5");
    app.add_flag("--probabilities", probabilities_,
                 "write dataset 'probabilities' (softmax) in place of 'predictions'");
    app.add_flag("--classes", classes_, "write dataset 'classes' (the largest output), too");
  }

  int run(const Session& session) override {
    base::require_output_path(output_);
    std::vector<std::string> options{"--output", output_};
    if (probabilities_) options.emplace_back("--probabilities");
    if (classes_) options.emplace_back("--classes");
    return model_.run(session, "predict", options);
  }

 private:
  ModelUse model_;
  std::string output_;
  bool probabilities_ = false;
  bool classes_ = false;
};

}  // namespace

std::unique_ptr<Command> make_predict() { return std::make_unique<Predict>(); }

}  // namespace lockstep::launcher
