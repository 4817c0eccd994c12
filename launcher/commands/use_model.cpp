#include "launcher/commands/use_model.hpp"

#include <filesystem>

#include "launcher/commands/run_workers.hpp"
#include "launcher/machine.hpp"

namespace lockstep::launcher {
namespace {

bool is_checkpoint(const std::string& path) {
  return base::FileSystem::posix().file_size(base::join_path(path, "manifest.json")).has_value();
}

checkpoints::RunDirectory run_of(const std::string& target) {
  const auto path = base::absolute_path(target);
  // A checkpoint lies in RUN/checkpoints/step-N.
  const auto run = is_checkpoint(path) ? base::parent_path(base::parent_path(path)) : target;
  return checkpoints::RunDirectory::open(base::FileSystem::posix(), "runs", run);
}

}  // namespace

int use_model(const Session& session, const LaunchOptions& launch, const std::string& target,
              const std::string& verb, const std::vector<std::string>& options) {
  const auto run = run_of(target);
  const auto path = base::absolute_path(target);
  // Rows are shared out by themselves: what training asks of its number of ranks does not hold here.
  auto other_options = launch;
  other_options.ranks.reset();
  const auto loaded =
      configs::read_config(run.config_path(), {other_options.overrides(), session.environment});
  auto request = launch_request(loaded, launch, session);
  if (launch.ranks) request.ranks = *launch.ranks;
  request.micro_batches = 0;
  request.worker = {require_worker(session.environment), verb,
                    is_checkpoint(path) ? path : run.path()};
  request.worker.insert(request.worker.end(), options.begin(), options.end());
  return run_workers(session, plan_launch(request), run, RunUse::kRead);
}

}  // namespace lockstep::launcher
