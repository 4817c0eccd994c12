// `predict RUN|CHECKPOINT --output F.h5`: ordered predictions of a trained model.

#include <CLI/CLI.hpp>

#include "launcher/commands/use_model.hpp"

namespace lockstep::launcher {
namespace {

class Predict final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("RUN", target_, "run or checkpoint")->required()->type_name("RUN|CHECKPOINT");
    app.add_option("--output", output_, "HDF5 file to write")->required()->type_name("F.h5");
    launch_.declare(app);
  }
  int run(const Session& session) override {
    return use_model(session, launch_, target_, "predict", {"--output", output_});
  }

 private:
  std::string target_;
  std::string output_;
  LaunchOptions launch_;
};

}  // namespace

std::unique_ptr<Command> make_predict() { return std::make_unique<Predict>(); }

}  // namespace lockstep::launcher
