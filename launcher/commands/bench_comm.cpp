// `bench comm`: what this machine's ranks reach when they sum arrays.

#include <CLI/CLI.hpp>

#include "launcher/bench_text.hpp"
#include "launcher/commands/launch_end.hpp"
#include "launcher/commands/launch_options.hpp"
#include "launcher/machine.hpp"

namespace lockstep::launcher {
namespace {

class BenchComm final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("--sizes", sizes_, "bytes of one rank's array: 4K,1M or 4K:64M (times 4)")
        ->type_name("LIST");
    app.add_flag("--json", json_, "as JSON");
    launch_.declare(app);
  }

  int run(const Session& session) override {
    parse_sizes(sizes_);  // refused here, once
    configs::LoadedConfig loaded;
    loaded.config.compute.device = "cpu";  // where it sums
    auto& launch = loaded.config.launch;
    launch.ranks = launch_.ranks.value_or(launch_.local ? 1 : 2);
    if (!launch_.launcher.empty()) launch.launcher = launch_.launcher;
    if (launch_.local) launch.launcher = "local";
    if (!launch_.hosts.empty()) launch.hosts = {launch_.hosts};
    auto request = launch_request(loaded, launch_, session);
    if (launch_.ranks || launch_.hosts.empty()) request.ranks = static_cast<int>(launch.ranks);
    request.worker = {require_worker(session.environment), "bench-comm", "--sizes", sizes_};
    if (json_) request.worker.emplace_back("--json");
    return run_once(session, plan_launch(request)).exit_code;
  }

 private:
  std::string sizes_ = "4K:64M";
  bool json_ = false;
  LaunchOptions launch_;
};

}  // namespace

std::unique_ptr<Command> make_bench_comm() { return std::make_unique<BenchComm>(); }

}  // namespace lockstep::launcher
