#include "launcher/commands/use_model.hpp"

#include <CLI/CLI.hpp>

#include "launcher/commands/launch_end.hpp"
#include "launcher/machine.hpp"

namespace lockstep::launcher {

void ModelUse::declare(CLI::App& app) {
  app.add_option("RUN", target_, "run or checkpoint")->required()->type_name("RUN|CHECKPOINT");
  app.add_option("overrides", overrides_, "other settings, as data.test=other.h5")
      ->type_name("key=value");
  launch_.declare(app);
}

int ModelUse::run(const Session& session, const std::string& verb,
                  const std::vector<std::string>& options) const {
  check_overrides(overrides_);
  const auto [run, checkpoint] =
      checkpoints::open_target(base::FileSystem::posix(), "runs", target_);
  // Rows are shared out by themselves: what training asks of its number of ranks does not hold
  // here.
  auto other_options = launch_;
  other_options.ranks.reset();
  auto overrides = other_options.overrides();
  overrides.insert(overrides.begin(), overrides_.begin(), overrides_.end());
  const auto loaded = configs::read_config(run.config_path(), {overrides, session.environment});
  auto request = launch_request(loaded, launch_, session);
  if (launch_.ranks) request.ranks = *launch_.ranks;
  request.micro_batches = 0;
  request.worker = {require_worker(session.environment), verb,
                    checkpoint.empty() ? run.path() : checkpoint};
  request.worker.insert(request.worker.end(), options.begin(), options.end());
  request.worker.insert(request.worker.end(), overrides_.begin(), overrides_.end());
  return show_end_of_reading(session, run_once(session, plan_launch(request)));
}

}  // namespace lockstep::launcher
