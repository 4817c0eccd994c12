// `resume RUN`: goes on from the newest good checkpoint, at any number of ranks.

#include <CLI/CLI.hpp>

#include "launcher/commands/command.hpp"
#include "launcher/commands/launch_options.hpp"
#include "launcher/commands/run_operand.hpp"
#include "launcher/commands/run_training.hpp"
#include "launcher/machine.hpp"

namespace lockstep::launcher {
namespace {

class Resume final : public Command {
 public:
  void declare(CLI::App& app) override {
    run_.declare(app);
    launch_.declare(app);
  }

  int run(const Session& session) override {
    const auto run = run_.open();
    // Before anything is started or noted in the run that somebody else writes.
    checkpoints::require_free(run);
    const auto loaded =
        configs::read_config(run.config_path(), {launch_.overrides(), session.environment});
    auto options = launch_;
    options.saved = true;
    auto request = launch_request(loaded, options, session);
    request.worker = {require_worker(session.environment), "resume", run.path()};
    return run_training(session,
                        {.request = std::move(request), .config = loaded.config, .run = run});
  }

 private:
  RunOperand run_;
  LaunchOptions launch_;
};

}  // namespace

std::unique_ptr<Command> make_resume() { return std::make_unique<Resume>(); }

}  // namespace lockstep::launcher
