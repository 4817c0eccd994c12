// `train CONFIG [key=value ...]` and `plan`, which is `train --dry-run`.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/micro_batch_plan.hpp"
#include "data/dataset_file.hpp"
#include "data/dataset_paths.hpp"
#include "data/token_windows.hpp"
#include "launcher/captured.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/commands/debug_options.hpp"
#include "launcher/commands/launch_options.hpp"
#include "launcher/commands/run_training.hpp"
#include "launcher/machine.hpp"
#include "launcher/micro_batch_search.hpp"
#include "launcher/plan_text.hpp"
#include "launcher/prepare_run.hpp"

namespace lockstep::launcher {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kDescribePatience{60};

/// Samples of the training data, without opening more than the files' own tables.
std::int64_t count_samples(const configs::RunConfig& config) {
  std::int64_t samples = 0;
  for (const auto& path : data::dataset_paths(config.data.train)) {
    const data::DatasetFile file(path);
    if (const auto* inputs = file.find_column(config.data.inputs)) {
      samples += inputs->rows();
    } else {
      samples += data::window_count(file.column(config.data.tokens).rows(), config.model.context,
                                    data::token_windows_of(config.data.token_windows));
    }
  }
  return samples;
}

std::optional<std::uint64_t> number_at(const json& object, const char* key) {
  const auto place = object.find(key);
  if (place == object.end() || !place->is_number_unsigned()) return std::nullopt;
  return place->get<std::uint64_t>();
}

/// Double quotes, as JSON and YAML share them.
std::string as_yaml(const std::string& text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

class Train final : public Command {
 public:
  explicit Train(bool plan_only) : dry_run_(plan_only), plan_only_(plan_only) {}

  void declare(CLI::App& app) override {
    app.add_option("CONFIG", config_, "configuration file")->required();
    app.add_option("overrides", overrides_, "key=value, +key=value or ~key");
    launch_.declare(app);
    debug_.declare(app);
    app.add_option("--name", name_, "name of the run, otherwise two words");
    if (!plan_only_) app.add_flag("--dry-run", dry_run_, "say what would be done, and do nothing");
    app.add_flag("--fast-dev-run{1}", fast_dev_run_,
                 "try everything with N steps (1) and one evaluation batch")
        ->check(CLI::Range(1, 1'000'000));
    app.add_option("--overfit-batches", overfit_batches_,
                   "train on the first N batches again and again: the loss must fall")
        ->type_name("N")
        ->check(CLI::Range(1, 1'000'000));
    if (!plan_only_) {
      app.add_flag("--find-micro-batch", find_micro_batch_,
                   "try which train.micro_batch is the largest that memory has room for, and train "
                   "with it: part of the run's configuration from then on");
    }
    app.footer(fmt::format("example: lockstep {} exp.yaml train.optimizer.lr=3e-4 --ranks 2",
                           plan_only_ ? "plan" : "train"));
  }

  int run(const Session& session) override {
    check_overrides(overrides_);
    auto overrides = overrides_;
    const auto from_options = launch_.overrides();
    overrides.insert(overrides.end(), from_options.begin(), from_options.end());
    const auto for_debugging = debug_.overrides();
    overrides.insert(overrides.end(), for_debugging.begin(), for_debugging.end());
    if (!name_.empty()) overrides.push_back("run.name=" + as_yaml(name_));
    // What is looked for takes the place of what is given.
    if (find_micro_batch_) overrides.emplace_back("train.micro_batch=1");
    auto loaded = configs::read_config(config_, {overrides, session.environment});
    auto request = launch_request(loaded, launch_, session);
    if (find_micro_batch_ && !dry_run_) {
      check_data(loaded.config);
      overrides.back() =
          fmt::format("train.micro_batch={}", find_micro_batch(session, loaded, request.ranks));
      loaded = configs::read_config(config_, {overrides, session.environment});
      request = launch_request(loaded, launch_, session);
    } else if (find_micro_batch_) {
      print_message(session.messages,
                    "nothing is tried with --dry-run: this is the plan with micro-batches of one "
                    "sample\n");
    }
    if (dry_run_) return print_plan(session, loaded, std::move(request));
    check_data(loaded.config);
    request.worker = worker_command(require_worker(session.environment), "train", loaded);
    debug_.apply(request, loaded.config);
    const auto plan = plan_launch(request);
    tell_as_ranks(session, loaded.config);
    if (debug_.anomaly) {
      print_message(session.messages,
                    "--anomaly is slow (it looks at every gradient); the bits of an mlp, whose "
                    "gradients need no autograd otherwise, are others with it\n");
    }

    std::vector<std::string> hosts;
    for (const auto& host : request.hosts) hosts.push_back(host.host);
    const auto run =
        prepare_run(loaded, {.command = session.command, .ranks = plan.ranks, .hosts = hosts});
    request.worker.insert(request.worker.end(), {"--run-dir", run.path()});
    return run_training(session, {.request = std::move(request),
                                  .config = loaded.config,
                                  .run = run,
                                  .trial = fast_dev_run_ > 0 || overfit_batches_ > 0});
  }

 private:
  /// What the configuration's ranks would do of what one process does now.
  void tell_as_ranks(const Session& session, const configs::RunConfig& config) const {
    const auto micro_batches = micro_batches_of(config);
    if (!launch_.local || launch_.ranks || config.launch.ranks < 2 || micro_batches == 0) return;
    LaunchPlan plan;
    const comm::MicroBatchPlan split(micro_batches, static_cast<int>(config.launch.ranks));
    for (int rank = 0; rank < config.launch.ranks; ++rank) {
      plan.micro_batches.push_back(split.range_of(rank));
    }
    print_message(
        session.messages,
        fmt::format("one process computes what launch.ranks {} would, with the same bits: "
                    "{}\n",
                    config.launch.ranks, split_text(config, plan)));
  }

  std::vector<std::string> worker_command(const std::string& worker, const std::string& verb,
                                          const configs::LoadedConfig& loaded) const {
    std::vector<std::string> words{worker, verb, config_};
    words.insert(words.end(), loaded.overrides.begin(), loaded.overrides.end());
    if (fast_dev_run_ > 0) {
      words.insert(words.end(), {"--fast-dev-run", std::to_string(fast_dev_run_)});
    }
    if (overfit_batches_ > 0) {
      words.insert(words.end(), {"--overfit-batches", std::to_string(overfit_batches_)});
    }
    return words;
  }

  /// By runs of a few steps that are tried, and told of.
  std::int64_t find_micro_batch(const Session& session, const configs::LoadedConfig& loaded,
                                std::int64_t ranks) const {
    const auto batch = loaded.config.train.global_batch;
    MicroBatchTrial trial{
        .command = {std::filesystem::read_symlink("/proc/self/exe"), "train", config_},
        .environment = session.environment,
        .global_batch = batch,
        .ranks = ranks};
    trial.command.insert(trial.command.end(), loaded.overrides.begin(), loaded.overrides.end());
    if (launch_.local) trial.command.emplace_back("--local");
    std::string words;
    const auto found =
        largest_that_fits(micro_batch_candidates(batch, ranks), [&](std::int64_t micro_batch) {
          const auto result = try_micro_batch(micro_batch, trial);
          if (!result.fits) words = result.words;
          print_message(session.messages,
                        fmt::format("micro-batches of {} samples: {}\n", micro_batch,
                                    result.fits ? "there is room" : "no room"));
          return result.fits;
        });
    if (found == 0) {
      throw base::EnvironmentError(fmt::format(
          "there is no room for micro-batches of one sample (the last trial ended with '{}'); use "
          "a smaller model, or compute.activation_checkpointing for a gpt",
          words));
    }
    print_message(session.messages,
                  fmt::format("training with train.micro_batch={}, which is part of what the "
                              "result depends on and allows at most {} ranks\n",
                              found, batch / found));
    return found;
  }

  /// Sooner than the workers would, and without a run directory for a run that cannot be.
  static void check_data(const configs::RunConfig& config) {
    auto paths = data::dataset_paths(config.data.train);
    const auto tests = data::dataset_paths(config.data.test);
    paths.insert(paths.end(), tests.begin(), tests.end());
    for (const auto& path : paths) {
      if (base::FileSystem::posix().file_size(path)) continue;
      throw base::DataError(fmt::format(
          "data file {} does not exist (the configuration names it, and paths start at {}); make "
          "it with 'lockstep data synth' or 'lockstep data import', or correct the path",
          base::quote(path), base::quote(base::absolute_path("."))));
    }
  }

  int print_plan(const Session& session, const configs::LoadedConfig& loaded,
                 LaunchRequest request) const {
    const auto worker = find_worker(session.environment);
    request.additions.clear();
    request.worker = worker_command(worker.empty() ? "lockstep-worker" : worker, "train", loaded);
    const auto plan = plan_launch(request);
    PlanFacts facts;
    facts.command = shell_line(plan);
    facts.free_shared_bytes = space_of("/dev/shm").value_or(SpaceOnDisk{}).free_bytes;
    facts.free_disk_bytes = free_where(loaded.config.run.directory);
    try {
      facts.samples = count_samples(loaded.config);
    } catch (const base::Error& error) {
      facts.no_samples = error.what();
    }
    if (!worker.empty()) add_description(session, loaded, worker, plan, facts);
    print(plan_text(loaded.config, plan, facts));
    return 0;
  }

  /// Of the disk that a folder lies on, or will.
  static std::optional<std::uint64_t> free_where(const std::string& folder) {
    std::filesystem::path place = base::absolute_path(folder);
    std::error_code ignored;
    while (!std::filesystem::exists(place, ignored) && place != place.parent_path()) {
      place = place.parent_path();
    }
    const auto space = space_of(place);
    return space ? std::optional(space->free_bytes) : std::nullopt;
  }

  void add_description(const Session& session, const configs::LoadedConfig& loaded,
                       const std::string& worker, const LaunchPlan& plan, PlanFacts& facts) const {
    std::vector<std::string> words{worker, "describe", config_};
    words.insert(words.end(), loaded.overrides.begin(), loaded.overrides.end());
    const auto answer = run_captured(words, session.environment, kDescribePatience);
    if (!answer || answer->exit_code != 0) return;
    const auto description = json::parse(answer->output, nullptr, false);
    if (!description.is_object()) return;
    facts.parameters = number_at(description, "parameters");
    facts.state_bytes = number_at(description, "state_bytes");
    if (!facts.parameters || !facts.state_bytes) return;
    // With room for the old values of what a step changes, and for a state that is being saved.
    const bool kept = keeps_memory(loaded.config) && fast_dev_run_ == 0 && overfit_batches_ == 0;
    if (kept) facts.kept_bytes = (loaded.config.checkpoint.background ? 3 : 2) * *facts.state_bytes;
    if (plan.ranks == 1) return;
    // The state once, and a gradient of every rank of the fullest node.
    const auto a_node = static_cast<std::uint64_t>(ranks_on_a_node(loaded.config, plan));
    // Other hosts' ranks have it there without what is kept, when there is no room for that.
    const bool here = loaded.config.launch.hosts.empty();
    facts.node_bytes =
        (kept && here ? 0 : *facts.state_bytes) + a_node * *facts.parameters * sizeof(float);
  }

  static int ranks_on_a_node(const configs::RunConfig& config, const LaunchPlan& plan) {
    int most = config.launch.hosts.empty() ? plan.ranks : 1;
    for (const auto& text : config.launch.hosts) {
      for (const auto& host : parse_hosts(text)) most = std::max(most, host.slots);
    }
    return std::min(most, plan.ranks);
  }

  std::string config_;
  std::vector<std::string> overrides_;
  LaunchOptions launch_;
  DebugOptions debug_;
  std::string name_;
  bool dry_run_;
  bool plan_only_;
  bool find_micro_batch_ = false;
  int fast_dev_run_ = 0;
  int overfit_batches_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_train() { return std::make_unique<Train>(false); }
std::unique_ptr<Command> make_plan() { return std::make_unique<Train>(true); }

}  // namespace lockstep::launcher
