// `replay RUN --step S`: recomputes a step on one process and compares its bits with the ledger.

#include <CLI/CLI.hpp>
#include <optional>

#include "base/error.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/commands/launch_end.hpp"
#include "launcher/commands/launch_options.hpp"
#include "launcher/commands/run_operand.hpp"
#include "launcher/machine.hpp"

namespace lockstep::launcher {
namespace {

class Replay final : public Command {
 public:
  void declare(CLI::App& app) override {
    run_.declare(app);
    app.add_option("--step", step_, "step as the ledger counts, from 1")
        ->required()
        ->type_name("S")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
    app.add_option("--micro-batch", micro_batch_,
                   "show the loss and the samples of this micro-batch of the step, from 0")
        ->type_name("M")
        ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40));
    app.add_flag("--json", json_, "as JSON, with all sample numbers");
    app.add_flag("--anomaly", anomaly_,
                 "stop at the first operation whose gradient is not a number, and name it");
    app.footer("example: lockstep replay amber-heron --step 1200");
  }

  int run(const Session& session) override {
    const auto run = run_.open();
    LaunchOptions alone;
    alone.local = true;
    auto overrides = alone.overrides();
    overrides.push_back("launch.hosts=[]");
    const auto loaded = configs::read_config(run.config_path(), {overrides, session.environment});
    auto request = launch_request(loaded, alone, session);
    request.worker = {require_worker(session.environment), "replay", run.path(), "--step",
                      std::to_string(step_)};
    if (micro_batch_) {
      request.worker.insert(request.worker.end(), {"--micro-batch", std::to_string(*micro_batch_)});
    }
    if (json_) request.worker.emplace_back("--json");
    if (anomaly_) request.worker.emplace_back("--anomaly");
    return show_end_of_reading(session, run_once(session, plan_launch(request)));
  }

 private:
  RunOperand run_;
  std::int64_t step_ = 0;
  std::optional<std::int64_t> micro_batch_;
  bool json_ = false;
  bool anomaly_ = false;
};

}  // namespace

std::unique_ptr<Command> make_replay() { return std::make_unique<Replay>(); }

}  // namespace lockstep::launcher
