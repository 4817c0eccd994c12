// lockstep-worker: one rank. Started by mpirun or srun, by `lockstep`, or alone.

#include <ATen/Version.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/environment.hpp"
#include "base/fault.hpp"
#include "base/log.hpp"
#include "base/output_path.hpp"
#include "base/text.hpp"
#include "checkpoints/json_lines.hpp"
#include "comm/agreement.hpp"
#include "configs/reader.hpp"
#include "configs/writer.hpp"
#include "data/fingerprint.hpp"
#include "launcher/bench_text.hpp"
#include "launcher/evaluation_text.hpp"
#include "launcher/health_writer.hpp"
#include "launcher/kept_memory.hpp"
#include "launcher/prepare_run.hpp"
#include "launcher/replay_text.hpp"
#include "launcher/run_card.hpp"
#include "launcher/settle_run.hpp"
#include "launcher/stack_dump.hpp"
#include "launcher/status_board.hpp"
#include "launcher/terminal.hpp"
#include "launcher/worker_failure.hpp"
#include "launcher/worker_session.hpp"
#include "trainer/detailed_evaluation.hpp"
#include "trainer/prediction.hpp"
#include "trainer/replay.hpp"
#include "trainer/trainer.hpp"

namespace lockstep::launcher {
namespace {

using base::ExitCode;

enum class Verb { kTrain, kResume, kEvaluate, kPredict, kReplay, kDescribe, kBenchComm };

struct Arguments {
  Verb verb = Verb::kTrain;
  std::string target;  ///< configuration, run or checkpoint
  std::vector<std::string> overrides;
  std::string run_dir;
  std::string output;
  trainer::TrialLimits limits;
  std::string top_k;
  std::string roc_auc = "auto";
  std::vector<std::string> least, most;  ///< gates of an evaluation
  bool probabilities = false;
  bool classes = false;
  std::int64_t step = 0;
  std::int64_t micro_batch = -1;
  std::string sizes = "4K:64M";
  bool json = false;
};

/// What every command has after start-up.
struct Worker {
  Arguments arguments;
  std::vector<std::string> command;  ///< as typed
  std::map<std::string, std::string> environment;
  base::LaunchedAs launched;
  configs::LoadedConfig loaded;
  std::string run_path;         ///< of the run that is written or read
  std::string checkpoint_path;  ///< when one was named
  std::uint64_t events_start = 0;
  std::unique_ptr<StatusBoard> board;  ///< of the supervisor, null without one on this host
  RankRow own_row;                     ///< where there is no board
  std::optional<base::StopSignal> stop;
  Style style;

  RankRow& row() { return board ? board->row(launched.rank) : own_row; }
  base::Position& position() { return row().position; }

  bool writes_run() const {
    return arguments.verb == Verb::kTrain || arguments.verb == Verb::kResume;
  }
  bool stops_on_request() const { return writes_run() || arguments.verb == Verb::kPredict; }
  /// A supervisor shows failures and the end card itself.
  bool supervised() const { return environment.contains(kTerminalVariable); }
};

base::FileSystem& files() { return base::FileSystem::posix(); }

/// Reads the configuration that the command names. Local, before MPI.
void load_config(Worker& worker) {
  if (worker.arguments.verb == Verb::kBenchComm) return;
  const auto& target = worker.arguments.target;
  if (worker.arguments.verb == Verb::kTrain || worker.arguments.verb == Verb::kDescribe) {
    worker.loaded = configs::read_config(target, {worker.arguments.overrides, worker.environment});
    return;
  }
  const auto [run, checkpoint] = checkpoints::open_target(files(), "runs", target);
  worker.run_path = run.path();
  worker.checkpoint_path = checkpoint;
  worker.loaded =
      configs::read_config(run.config_path(), {worker.arguments.overrides, worker.environment});
}

/// A run's directory, or why there is none.
struct MadeRun {
  std::string path;
  std::exception_ptr problem;
};

/// Rank 0 makes the run's directory unless the supervisor has; it starts git, so it must come
/// before MPI, and the other ranks learn of it afterwards.
MadeRun make_run(const Worker& worker) {
  if (worker.arguments.verb != Verb::kTrain) return {worker.run_path, nullptr};
  if (!worker.arguments.run_dir.empty()) {
    return {base::absolute_path(worker.arguments.run_dir), nullptr};
  }
  if (worker.launched.rank != 0) return {};
  try {
    RunRequest request;
    request.command = worker.command;
    request.ranks = std::max(worker.launched.world_size, 1);
    return {prepare_run(worker.loaded, request).path(), nullptr};
  } catch (const base::Error&) {
    return {{}, std::current_exception()};
  }
}

void agree_on_run(Worker& worker, comm::Communicator& world, const MadeRun& made) {
  const auto path = comm::on_first_rank(world, "run directory", [&] {
    if (made.problem != nullptr) std::rethrow_exception(made.problem);
    return made.path;
  });
  worker.run_path = path.empty() ? path : base::absolute_path(path);
  if (!worker.run_path.empty()) {
    worker.events_start =
        files().file_size(base::join_path(worker.run_path, "events.jsonl")).value_or(0);
  }
}

/// Shows the progress line now and then.
class ProgressPrinter {
 public:
  ProgressPrinter(const Style& style, double seconds)
      : style_(style),
        period_(std::chrono::duration_cast<std::chrono::nanoseconds>(
            std::chrono::duration<double>(style.terminal ? std::min(seconds, 0.2) : seconds))) {}

  void operator()(const trainer::TrainingProgress& progress) {
    const auto now = std::chrono::steady_clock::now();
    const bool last = progress.step == progress.total_steps;
    if (!last && shown_ && now - *shown_ < period_) return;
    shown_ = now;
    const auto line = format_progress(style_, {.epoch = progress.epoch,
                                               .epochs = progress.epochs,
                                               .step = progress.step,
                                               .steps = progress.total_steps,
                                               .samples_per_second = progress.samples_per_second,
                                               .loss = progress.loss,
                                               .remaining = progress.remaining});
    const auto bytes = progress_bytes(style_, line) + (last && style_.terminal ? "\n" : "");
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    std::fflush(stdout);
  }

 private:
  Style style_;
  std::chrono::nanoseconds period_;
  std::optional<std::chrono::steady_clock::time_point> shown_;
};

void note_end(const Worker& worker, ExitCode code) {
  const auto run = checkpoints::RunDirectory::open(files(), ".", worker.run_path);
  const auto time = base::format_utc(base::Clock::system().wall());
  end_record(run, static_cast<int>(code), time);
  checkpoints::JsonLines(files(), run.events_path())
      .append({{"event", "end"}, {"time", time}, {"exit_code", static_cast<int>(code)}});
}

/// What a drill asks this rank to do, in this attempt.
base::FaultPlan faults_of(const Worker& worker) {
  const auto text = worker.environment.find("LOCKSTEP_FAULT");
  if (text == worker.environment.end()) return {};
  const auto attempt = worker.environment.find(kAttemptVariable);
  return base::FaultPlan::parse(text->second)
      .for_rank(worker.launched.rank,
                attempt == worker.environment.end() ? 0 : std::atoi(attempt->second.c_str()));
}

/// Ranks of a host without the supervisor's board share one that the node's first rank makes.
/// Collective over the node.
void share_board(Worker& worker, WorkerSession& session) {
  auto& node = session.group().node;
  std::unique_ptr<StatusBoard> made;
  if (node.rank() == 0 && !worker.board) {
    made = std::make_unique<StatusBoard>(session.world().size());
  }
  const auto address = node.all_gather_texts(made ? made->address() : "", "status board")[0];
  if (worker.board || address.empty()) return;
  worker.board = made ? std::move(made) : StatusBoard::find({{kBoardVariable, address}});
  worker.row().take(::getpid());
  note_fatal_signals(worker.row());
}

/// Of this host, when this is its first rank.
std::unique_ptr<HealthWriter> write_health(Worker& worker, WorkerSession& session,
                                           const checkpoints::RunDirectory& run) {
  const auto& topology = session.group().topology;
  const auto& host = topology.host_of_rank[static_cast<std::size_t>(topology.rank)];
  std::vector<int> ranks;
  for (int rank = 0; rank < topology.world_size; ++rank) {
    if (topology.host_of_rank[static_cast<std::size_t>(rank)] == host) ranks.push_back(rank);
  }
  if (!worker.board || ranks.front() != topology.rank) return nullptr;
  return std::make_unique<HealthWriter>(files(), run.health_path(host), *worker.board, ranks);
}

/// Where the state of the last finished step outlives this node's ranks; empty unless every node
/// has such a place. Collective.
std::string kept_memory_of(const Worker& worker, WorkerSession& session) {
  if (worker.arguments.limits.any()) return {};
  const auto address = KeptMemory::find(worker.environment, session.group().topology.node);
  std::int64_t everywhere = address.empty() ? 0 : 1;
  session.world().all_reduce(std::span(&everywhere, 1), comm::ReduceOp::kMin, "kept memory");
  return everywhere == 1 ? address : std::string();
}

ExitCode train(Worker& worker, WorkerSession& session, base::Log& log) {
  const auto begin = std::chrono::steady_clock::now();
  const auto run = checkpoints::RunDirectory::open(files(), ".", worker.run_path);
  const int rank = session.world().rank();
  log.open_json(run.log_path(rank));
  const auto& config = worker.loaded.config;
  log.debug("rank " + std::to_string(rank) + " of " + std::to_string(session.world().size()) +
            ", process " + std::to_string(::getpid()));
  const bool resume = worker.arguments.verb == Verb::kResume;
  share_board(worker, session);
  const auto health = write_health(worker, session, run);
  write_stacks_to(run.stack_path(rank));
  session.world().show_waits_in(worker.row().wait);
  const auto faults = faults_of(worker);
  faults.reached(base::Phase::kStart, 0);
  trainer::Trainer trainer({.config = config,
                            .config_hash = configs::config_hash(config),
                            .cache_directory = base::cache_directory(worker.environment),
                            .limits = worker.arguments.limits,
                            .run = run,
                            .from_checkpoint = worker.checkpoint_path,
                            .resume = resume,
                            .files = files(),
                            .clock = base::Clock::system(),
                            .stop = *worker.stop,
                            .kept_memory = kept_memory_of(worker, session),
                            .faults = faults,
                            .progress = ProgressPrinter(worker.style, config.log.progress_seconds),
                            .warn = [&](const std::string& text) { log.warning(text); }},
                           session.group(), worker.position());
  const auto outcome = trainer.run();
  worker.position().enter(base::Phase::kEnd);
  faults.reached(base::Phase::kEnd, outcome.step);
  session.world().barrier("the end of the run");
  if (rank == 0) {
    note_end(worker, outcome.code);
    if (!worker.supervised()) {
      const auto card = end_card(worker.style, run.read_record(), run.path(),
                                 std::chrono::steady_clock::now() - begin);
      std::fwrite(card.data(), 1, card.size(), stdout);
    }
  }
  return outcome.code;
}

/// The model of a run as its newest good checkpoint, or the named one, has it.
struct LoadedModel {
  trainer::InferenceAssembly made;
  std::string run;  ///< its name
  std::int64_t step = 0;
  std::string state_digest;
};

LoadedModel load_model(Worker& worker, WorkerSession& session) {
  const auto& config = worker.loaded.config;
  auto made =
      trainer::assemble_for_inference(config, configs::config_hash(config),
                                      base::cache_directory(worker.environment), session.group());
  worker.position().enter(base::Phase::kRestore);
  const auto run = checkpoints::RunDirectory::open(files(), ".", worker.run_path);
  checkpoints::CheckpointStore store(files(), run.checkpoints_path());
  std::string path = worker.checkpoint_path;
  if (path.empty()) {
    path = comm::on_first_rank(session.world(), "checkpoint",
                               [&] { return store.newest_good().value_or(""); });
  }
  if (path.empty()) {
    throw base::CheckpointError("run " + base::quote(run.name()) +
                                " has no good checkpoint (nothing to load); train it first, or see "
                                "'lockstep verify'");
  }
  const auto manifest = made.model->load(store, path);
  worker.position().finished(manifest.info.step);
  return {std::move(made), run.name(), manifest.info.step, manifest.state_digest};
}

trainer::RocAuc roc_auc_of(const std::string& word) {
  if (word == "on") return trainer::RocAuc::kOn;
  return word == "off" ? trainer::RocAuc::kOff : trainer::RocAuc::kAuto;
}

/// Only the first rank writes: other nodes need not see the folder.
void require_output(const Worker& worker, WorkerSession& session) {
  if (worker.arguments.output.empty()) return;
  comm::on_first_rank(session.world(), "place of the output", [&] {
    base::require_output_path(worker.arguments.output);
    return std::string();
  });
}

ExitCode evaluate(Worker& worker, WorkerSession& session) {
  const auto& arguments = worker.arguments;
  require_output(worker, session);
  const auto top_k = parse_top_k(arguments.top_k);
  std::vector<Gate> gates;
  for (const auto& text : arguments.least) {
    gates.push_back(parse_gate(text, Gate::Side::kAtLeast));
  }
  for (const auto& text : arguments.most) gates.push_back(parse_gate(text, Gate::Side::kAtMost));

  auto model = load_model(worker, session);
  if (model.made.test == nullptr) {
    throw base::ConfigError(
        "the configuration of the run names no data.test (nothing to evaluate "
        "on); give one with data.test=FILE");
  }
  worker.position().enter(base::Phase::kEvaluation);
  const auto report = trainer::evaluate_in_detail(session.group(), model.made.model->parameters(),
                                                  *model.made.objective, *model.made.test,
                                                  {.batch = worker.loaded.config.evaluate.batch,
                                                   .top_k = top_k,
                                                   .roc_auc = roc_auc_of(arguments.roc_auc)});
  nlohmann::ordered_json json{{"run", model.run},
                              {"step", model.step},
                              {"state_digest", model.state_digest},
                              {"data", model.made.test->name()}};
  json.update(trainer::to_json(report));
  const auto failed = failed_gates(json.at("metrics"), gates);
  comm::on_first_rank(session.world(), "report of the evaluation", [&] {
    const auto text = json.dump(2) + "\n";
    if (!arguments.output.empty()) files().write_atomically(arguments.output, text);
    const auto shown = arguments.json ? text : evaluation_text(json, worker.style);
    std::fwrite(shown.data(), 1, shown.size(), stdout);
    std::fflush(stdout);
    for (const auto& line : failed) std::fprintf(stderr, "gate failed: %s\n", line.c_str());
    return std::string();
  });
  return failed.empty() ? ExitCode::kDone : ExitCode::kGate;
}

/// Everything that the bits of predictions depend on besides batch and shape.
std::string prediction_identity(const Worker& worker, const LoadedModel& model,
                                const data::SampleSource& source) {
  const nlohmann::ordered_json json{{"state_digest", model.state_digest},
                                    {"data_fingerprint", source.fingerprint()},
                                    {"config_hash", configs::config_hash(worker.loaded.config)},
                                    {"torch", TORCH_VERSION},
                                    {"processor", at::get_cpu_capability()}};
  return json.dump();
}

ExitCode predict(Worker& worker, WorkerSession& session, base::Log& log) {
  const auto& arguments = worker.arguments;
  require_output(worker, session);
  auto model = load_model(worker, session);
  worker.position().enter(base::Phase::kPrediction);
  auto& source = model.made.test != nullptr ? *model.made.test : *model.made.train;
  trainer::PredictionOptions options;
  options.output = arguments.output;
  if (arguments.probabilities) options.answer = trainer::Answer::kProbabilities;
  if (arguments.classes) options.classes = trainer::AnswerClasses::kYes;
  options.batch = worker.loaded.config.evaluate.batch;
  options.identity = comm::on_first_rank(session.world(), "identity of the predictions", [&] {
    return prediction_identity(worker, model, source);
  });
  options.stop_requests = [&] { return worker.stop->requests(); };
  options.tell = [&](const std::string& text) { log.info(text); };
  const auto outcome =
      trainer::predict(session.group(), model.made.model->parameters(), source, options);
  if (session.world().rank() == 0) {
    const auto count = [](std::int64_t rows) {
      return base::format_count(static_cast<std::uint64_t>(rows));
    };
    if (outcome.code == ExitCode::kStopped) {
      log.info("stopped on request with " + count(outcome.committed) + " of " +
               count(outcome.samples) + " rows saved; the same command goes on");
    } else {
      std::printf("%s predictions in %s\n", count(outcome.samples).c_str(),
                  arguments.output.c_str());
    }
  }
  return outcome.code;
}

ExitCode replay(Worker& worker, WorkerSession& session) {
  const auto& config = worker.loaded.config;
  const auto run = checkpoints::RunDirectory::open(files(), ".", worker.run_path);
  const auto report = trainer::replay({.config = config,
                                       .config_hash = configs::config_hash(config),
                                       .cache_directory = base::cache_directory(worker.environment),
                                       .run = run,
                                       .files = files(),
                                       .step = worker.arguments.step,
                                       .micro_batch = worker.arguments.micro_batch},
                                      session.group(), worker.position());
  const auto text =
      worker.arguments.json ? trainer::to_json(report) : replay_text(report, worker.style);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return report.same() ? ExitCode::kDone : ExitCode::kGate;
}

ExitCode bench_comm(Worker& worker, WorkerSession& session) {
  worker.position().enter(base::Phase::kBenchmark);
  const auto group = session.group();
  const auto rows = comm::bench_sums(
      group.world, group.node, group.topology,
      {.sizes = parse_sizes(worker.arguments.sizes), .with_mpi = session.has_mpi()});
  if (group.world.rank() == 0) {
    const auto text = worker.arguments.json ? bench_json(rows, group.topology)
                                            : bench_table(rows, group.topology, worker.style);
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  session.world().barrier("the end of the benchmark");
  return std::ranges::all_of(rows, &comm::CommBenchRow::right) ? ExitCode::kDone
                                                               : ExitCode::kFailed;
}

ExitCode describe_config(const Worker& worker) {
  const auto model = trainer::describe_model(worker.loaded.config);
  const nlohmann::json json{{"parameters", model.parameters},
                            {"buffers", model.buffers},
                            {"state_bytes", model.state_bytes},
                            {"tensors", model.tensors}};
  std::printf("%s\n", json.dump().c_str());
  return ExitCode::kDone;
}

/// Tells everybody and ends the process; never returns.
[[noreturn]] void fail(Worker& worker, WorkerSession& session, const std::string& message,
                       ExitCode code) {
  auto& world = session.world();
  world.fail(message, code);
  const auto first = world.failure().value_or(comm::Failure{world.rank(), message, code});
  const bool first_here = first.rank == world.rank();
  // A run's record settles who tells. Without one, what all ranks find wrong at the same moment,
  // such as a missing file, rank 0 tells, and ends the others before they do.
  const bool recorded = worker.writes_run() && !worker.run_path.empty();
  const std::chrono::seconds head_start{recorded || world.rank() == 0 ? 0 : 2};
  // The rank that failed first tells; the others leave it a moment to do so.
  constexpr std::chrono::seconds kPatience{3};
  std::this_thread::sleep_for(first_here ? head_start : head_start + kPatience);
  const FailureNote note{.rank = first.rank,
                         .host = base::host_name(),
                         .phase = worker.position().phase(),
                         .step = worker.position().step(),
                         .message = first.reason,
                         .code = first.code};
  const bool told = recorded
                        ? note_first_failure(files(), worker.run_path, worker.events_start, note)
                        : first_here;
  const bool shown_by_supervisor =
      worker.supervised() && worker.writes_run() && first.code != ExitCode::kUsage;
  if (told && !shown_by_supervisor) {
    std::fprintf(stderr, "error: %s\n", describe(note, world.size()).c_str());
  }
  std::fflush(nullptr);
  worker.row().note({Ending::Kind::kExit, static_cast<int>(first.code)});
  if (session.has_mpi() && world.size() > 1) comm::MpiSession::abort(first.code);
  ::_exit(static_cast<int>(first.code));
}

ExitCode run(Worker& worker) {
  load_config(worker);
  if (worker.arguments.verb == Verb::kDescribe) return describe_config(worker);
  const auto made = make_run(worker);

  WorkerSession session(worker.launched);
  note_fatal_signals(worker.row());
  base::Log log({.prefix = session.world().size() > 1
                               ? "rank " + std::to_string(session.world().rank()) + ": "
                               : "",
                 .json_path = {},
                 .rank = session.world().rank(),
                 .host = base::host_name()});
  try {
    session.world().set_deadline(std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::duration<double>(worker.loaded.config.launch.deadline_seconds)));
    agree_on_run(worker, session.world(), made);
    session.find_nodes(static_cast<int>(worker.loaded.config.launch.ranks_per_node));
    switch (worker.arguments.verb) {
      case Verb::kTrain:
      case Verb::kResume: return train(worker, session, log);
      case Verb::kEvaluate: return evaluate(worker, session);
      case Verb::kPredict: return predict(worker, session, log);
      case Verb::kReplay: return replay(worker, session);
      case Verb::kBenchComm: return bench_comm(worker, session);
      case Verb::kDescribe: break;
    }
    return ExitCode::kDone;
  } catch (const base::Error& error) {
    fail(worker, session, error.what(), error.code());
  } catch (const std::bad_alloc&) {
    fail(worker, session,
         "memory ran out (the model, its gradients and its batches did not fit); use more ranks or "
         "a smaller train.micro_batch",
         ExitCode::kEnvironment);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    fail(worker, session, text.substr(0, text.find('\n')), ExitCode::kFailed);
  }
}

void declare(CLI::App& app, Arguments& arguments) {
  app.require_subcommand(1);
  const auto add = [&](const char* name, const char* text, Verb verb, const char* target) {
    auto* command = app.add_subcommand(name, text);
    if (target != nullptr) command->add_option(target, arguments.target)->required();
    command->callback([&arguments, verb] { arguments.verb = verb; });
    return command;
  };
  auto* train = add("train", "train by a configuration", Verb::kTrain, "CONFIG");
  train->add_option("overrides", arguments.overrides, "key=value");
  train->add_option("--run-dir", arguments.run_dir, "a run's directory that was made already");
  train->add_option("--fast-dev-run", arguments.limits.fast_dev_steps,
                    "stop after N steps, keep no checkpoint");
  train->add_option("--overfit-batches", arguments.limits.overfit_batches,
                    "train on the first N global batches, keep no checkpoint");
  auto* resume = add("resume", "go on from a run's newest checkpoint", Verb::kResume, "RUN");
  resume->add_option("overrides", arguments.overrides, "key=value");
  auto* evaluate = add("evaluate", "metrics of a trained model", Verb::kEvaluate, "RUN");
  evaluate->add_option("--top-k", arguments.top_k, "as 1,3,5");
  evaluate->add_option("--roc-auc", arguments.roc_auc, "auto, on or off")
      ->check(CLI::IsMember({"auto", "on", "off"}));
  evaluate->add_option("--min", arguments.least, "METRIC=NUMBER")->expected(1);
  evaluate->add_option("--max", arguments.most, "METRIC=NUMBER")->expected(1);
  evaluate->add_option("--output", arguments.output, "JSON file to write");
  evaluate->add_flag("--json", arguments.json, "as JSON");
  evaluate->add_option("overrides", arguments.overrides, "key=value");
  auto* predict = add("predict", "outputs of a trained model", Verb::kPredict, "RUN");
  predict->add_option("--output", arguments.output, "HDF5 file to write")->required();
  predict->add_flag("--probabilities", arguments.probabilities, "softmax of the outputs");
  predict->add_flag("--classes", arguments.classes, "the classes of largest output, too");
  predict->add_option("overrides", arguments.overrides, "key=value");
  auto* replay = add("replay", "a step of a run once more", Verb::kReplay, "RUN");
  replay->add_option("--step", arguments.step, "as the ledger counts")->required();
  replay->add_option("--micro-batch", arguments.micro_batch, "counted from 0");
  replay->add_flag("--json", arguments.json, "as JSON");
  auto* bench = add("bench-comm", "time of sums over all ranks", Verb::kBenchComm, nullptr);
  bench->add_option("--sizes", arguments.sizes, "bytes, as 4K,1M or 4K:64M");
  bench->add_flag("--json", arguments.json, "as JSON");
  auto* describe = add("describe", "sizes of the model as JSON", Verb::kDescribe, "CONFIG");
  describe->add_option("overrides", arguments.overrides, "key=value");
}

void tune_process(const base::LaunchedAs& launched) {
  // Large blocks stay with the process: otherwise glibc gives them back after each step, and the
  // kernel hands out zeroed pages again in the next.
  ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
  ::mallopt(M_TRIM_THRESHOLD, 2'000'000'000);
  ::mallopt(M_TOP_PAD, 64 << 20);
  // No rank outlives the launcher that started it.
  if (launched.launcher != base::Launcher::kNone) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int main_of(int argc, char** argv) {
  Worker worker;
  worker.command.assign(argv, argv + argc);
  CLI::App app{"One rank of Lockstep. Most people start it through 'lockstep' or mpirun."};
  declare(app, worker.arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  try {
    worker.environment = base::environment_variables();
    worker.launched = base::launched_as(worker.environment);
    worker.style =
        choose_style(ColorChoice::kAuto, worker.environment, terminal_columns(STDOUT_FILENO));
    tune_process(worker.launched);
    worker.board = StatusBoard::find(worker.environment);
    worker.row().take(::getpid());
    note_fatal_signals(worker.row());
    if (worker.stops_on_request()) worker.stop.emplace();
    const auto code = static_cast<int>(run(worker));
    worker.row().note({Ending::Kind::kExit, code});
    return code;
  } catch (const base::Error& error) {
    // Before the ranks know of each other: all of them see the same, one tells.
    if (worker.launched.rank == 0) std::fprintf(stderr, "error: %s\n", error.what());
    worker.row().note({Ending::Kind::kExit, static_cast<int>(error.code())});
    return static_cast<int>(error.code());
  }
}

}  // namespace
}  // namespace lockstep::launcher

int main(int argc, char** argv) {
  const int code = lockstep::launcher::main_of(argc, argv);
  std::fflush(nullptr);
  // Static destructors of the libraries cost more than the exit itself and do nothing for us.
  ::_exit(code);
}
