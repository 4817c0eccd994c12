#include "launcher/commands/use_model.hpp"

#include "launcher/commands/run_workers.hpp"
#include "launcher/machine.hpp"

namespace lockstep::launcher {
int use_model(const Session& session, const LaunchOptions& launch, const std::string& target,
              const std::string& verb, const std::vector<std::string>& options) {
  const auto [run, checkpoint] =
      checkpoints::open_target(base::FileSystem::posix(), "runs", target);
  // Rows are shared out by themselves: what training asks of its number of ranks does not hold
  // here.
  auto other_options = launch;
  other_options.ranks.reset();
  const auto loaded =
      configs::read_config(run.config_path(), {other_options.overrides(), session.environment});
  auto request = launch_request(loaded, launch, session);
  if (launch.ranks) request.ranks = *launch.ranks;
  request.micro_batches = 0;
  request.worker = {require_worker(session.environment), verb,
                    checkpoint.empty() ? run.path() : checkpoint};
  request.worker.insert(request.worker.end(), options.begin(), options.end());
  return run_workers(session, plan_launch(request), run, RunUse::kRead);
}

}  // namespace lockstep::launcher
