#include "launcher/commands/launch_options.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>

#include "base/error.hpp"
#include "base/text.hpp"
#include "launcher/machine.hpp"

namespace lockstep::launcher {
namespace {

bool was_set(const configs::LoadedConfig& loaded, const std::string& key) {
  const auto origin = loaded.origins.find(key);
  return origin != loaded.origins.end() && origin->second.kind != configs::Origin::Kind::kDefault;
}

std::vector<HostSlots> hosts_of(const configs::RunConfig& config) {
  std::vector<HostSlots> hosts;
  for (const auto& text : config.launch.hosts) {
    const auto parsed = parse_hosts(text);
    hosts.insert(hosts.end(), parsed.begin(), parsed.end());
  }
  return hosts;
}

std::optional<int> number_in(const std::map<std::string, std::string>& variables,
                             const std::string& name) {
  const auto found = variables.find(name);
  if (found == variables.end()) return std::nullopt;
  int number = 0;
  const auto& text = found->second;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || stop != text.data() + text.size() || number < 1) return std::nullopt;
  return number;
}

int ranks_for(const configs::LoadedConfig& loaded, const LaunchOptions& options,
              const LaunchRequest& request) {
  const bool leave_to_slurm =
      options.saved && !options.ranks && request.environment.contains("SLURM_JOB_ID");
  if ((was_set(loaded, "launch.ranks") && !leave_to_slurm) || request.launcher == "local") {
    return static_cast<int>(loaded.config.launch.ranks);
  }
  if (!request.hosts.empty()) {
    int slots = 0;
    for (const auto& host : request.hosts) slots += host.slots;
    return slots;
  }
  if (const auto tasks = number_in(request.environment, "SLURM_NTASKS");
      tasks && request.environment.contains("SLURM_JOB_ID")) {
    return *tasks;
  }
  return static_cast<int>(loaded.config.launch.ranks);
}

}  // namespace

void LaunchOptions::declare(CLI::App& app) {
  app.add_option("--ranks", ranks, "processes to train with")->type_name("N");
  auto* only_here = app.add_flag("--local", local, "one process, no mpirun: the debug mode");
  auto* named = app.add_option("--launcher", launcher,
                               "what starts the ranks: auto, local, "
                               "mpirun or srun");
  only_here->excludes(named);
  app.add_option("--hosts", hosts, "hosts and their numbers of ranks, as a:4,b:4");
}

std::vector<std::string> LaunchOptions::overrides() const {
  std::vector<std::string> result;
  if (ranks) result.push_back(fmt::format("launch.ranks={}", *ranks));
  if (local) result.emplace_back("launch.launcher=local");
  if (!launcher.empty()) result.push_back("launch.launcher=" + launcher);
  if (!hosts.empty()) {
    std::vector<std::string> parts;
    for (const auto& host : parse_hosts(hosts)) {
      parts.push_back(fmt::format("\"{}:{}\"", host.host, host.slots));
    }
    result.push_back(fmt::format("launch.hosts=[{}]", base::joined(parts)));
  }
  return result;
}

LaunchRequest launch_request(const configs::LoadedConfig& loaded, const LaunchOptions& options,
                             const Session& session) {
  const auto& config = loaded.config;
  LaunchRequest request;
  request.launcher = config.launch.launcher;
  // A run that was trained with --local is used on several ranks when the command says so.
  const bool asked_for_several = options.ranks.value_or(1) > 1;
  if (request.launcher == "local" && asked_for_several && !options.local &&
      options.launcher.empty()) {
    request.launcher = "auto";
  }
  request.hosts = hosts_of(config);
  // A configured number of ranks must not keep the debug mode from working.
  const bool alone = options.local && !options.ranks;
  if (alone) request.hosts.clear();
  request.environment = session.environment;
  request.ranks = alone ? 1 : ranks_for(loaded, options, request);
  request.micro_batches = micro_batches_of(config);
  request.threads = static_cast<int>(config.compute.threads);
  request.cores = physical_cores();
  const auto& compute = config.compute;
  const bool gpus = compute.device == "cuda" || (compute.device == "auto" && has_nvidia_driver());
  if (compute.bind && gpus) request.binding = RankBinding::kByRanks;
  request.root = geteuid() == 0;
  request.additions = {
      {kTerminalVariable, std::to_string(session.output.terminal ? session.output.columns : 0)},
      {kColorVariable, session.output.color ? "always" : "never"}};
  request.mpirun = find_program("mpirun", session.environment);
  request.srun = find_program("srun", session.environment);
  return request;
}

std::int64_t micro_batches_of(const configs::RunConfig& config) {
  const auto& train = config.train;
  return train.micro_batch > 0 ? train.global_batch / train.micro_batch : 0;
}

void check_overrides(const std::vector<std::string>& overrides) {
  for (const auto& word : overrides) {
    if (word.starts_with('~') || word.find('=') != std::string::npos) continue;
    throw base::ConfigError(fmt::format(
        "{} changes nothing in the configuration (an override is key=value, +key=value or ~key); "
        "write for example train.epochs=3",
        base::quote(word)));
  }
}

}  // namespace lockstep::launcher
