// `evaluate RUN|CHECKPOINT`: exact metrics of a trained model.

#include <CLI/CLI.hpp>

#include "launcher/commands/use_model.hpp"

namespace lockstep::launcher {
namespace {

class Evaluate final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("RUN", target_, "run or checkpoint")->required()->type_name("RUN|CHECKPOINT");
    launch_.declare(app);
  }
  int run(const Session& session) override {
    return use_model(session, launch_, target_, "evaluate", {});
  }

 private:
  std::string target_;
  LaunchOptions launch_;
};

}  // namespace

std::unique_ptr<Command> make_evaluate() { return std::make_unique<Evaluate>(); }

}  // namespace lockstep::launcher
