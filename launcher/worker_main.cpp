// lockstep-worker: one rank. Started by mpirun or srun, by `lockstep`, or alone.

#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <c10/util/Exception.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/process_status.hpp"
#include "base/text.hpp"
#include "comm/agreement.hpp"
#include "comm/comm_bench.hpp"
#include "launcher/bench_text.hpp"
#include "launcher/kept_memory.hpp"
#include "launcher/prepare_run.hpp"
#include "launcher/worker.hpp"
#include "launcher/worker_device.hpp"
#include "launcher/worker_failure.hpp"

namespace lockstep::launcher {
namespace {

using base::ExitCode;

/// What to do where memory ran out.
std::string no_memory(const Worker& worker) {
  if (!worker.writes_run()) {
    return "memory ran out (the model and a batch did not fit); use a smaller evaluate.batch";
  }
  return "memory ran out (the model, its gradients and its batches did not fit); use a smaller "
         "train.micro_batch, which 'lockstep train --find-micro-batch' finds, or for a gpt "
         "compute.activation_checkpointing";
}

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
  worker.writer =
      comm::on_first_rank(world, "process of rank 0", [] { return checkpoints::this_holder(); });
  if (!worker.run_path.empty()) {
    worker.events_start =
        files().file_size(base::join_path(worker.run_path, "events.jsonl")).value_or(0);
  }
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

/// Its events are those of another launch.
bool written_by_others(const Worker& worker) {
  const auto holder =
      checkpoints::holder_of(checkpoints::RunDirectory::open(files(), ".", worker.run_path));
  return !holder.empty() && holder != worker.writer;
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
  const bool recorded =
      worker.writes_run() && !worker.run_path.empty() && !written_by_others(worker);
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

/// Until one is attached, or somebody wants the run to end.
void wait_for_debugger(const Worker& worker) {
  constexpr std::chrono::minutes kPatience{30};
  ::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  std::fprintf(
      stderr,
      "rank %d is process %d on host %s and waits for a debugger for 30 minutes: attach one "
      "with 'gdb -p %d', then 'continue'\n",
      worker.launched.rank, ::getpid(), base::host_name().c_str(), ::getpid());
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!base::is_traced() && !(worker.stop && worker.stop->requests() > 0)) {
    if (std::chrono::steady_clock::now() > deadline) {
      throw base::TimeoutError("no debugger came to rank " + std::to_string(worker.launched.rank) +
                               " within 30 minutes (--gdb waits for one); leave --gdb out");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

ExitCode run(Worker& worker) {
  if (worker.arguments.verb == Verb::kDevices) {
    std::printf("%s\n", devices_json().c_str());
    return ExitCode::kDone;
  }
  if (worker.arguments.verb == Verb::kForget) {
    forget_kept_memory(worker.environment);
    return ExitCode::kDone;
  }
  load_config(worker);
  if (worker.arguments.verb == Verb::kDescribe) return describe_config(worker);
  load_device(worker);
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
    if (worker.arguments.verb != Verb::kBenchComm) take_device(worker, session, log);
    switch (worker.arguments.verb) {
      case Verb::kTrain:
      case Verb::kResume: return train(worker, session, log);
      case Verb::kEvaluate: return evaluate(worker, session);
      case Verb::kPredict: return predict(worker, session, log);
      case Verb::kReplay: return replay(worker, session);
      case Verb::kBenchComm: return bench_comm(worker, session);
      case Verb::kDescribe:
      case Verb::kDevices:
      case Verb::kForget: break;
    }
    return ExitCode::kDone;
  } catch (const base::Error& error) {
    fail(worker, session, error.what(), error.code());
  } catch (const std::bad_alloc&) {
    fail(worker, session, no_memory(worker), ExitCode::kEnvironment);
  } catch (const c10::OutOfMemoryError&) {
    fail(worker, session, no_memory(worker), ExitCode::kEnvironment);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    // LibTorch's and oneDNN's words for the same.
    for (const auto* words :
         {"DefaultCPUAllocator: can't allocate", "could not create a primitive"}) {
      if (text.find(words) != std::string::npos) {
        fail(worker, session, no_memory(worker), ExitCode::kEnvironment);
      }
    }
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
  train->add_flag("--anomaly", arguments.anomaly, "stop at the first gradient that is no number");
  train->add_option("--profile", arguments.profile, "trace these steps, as steps=20:25");
  train->add_option("--gdb", arguments.gdb, "rank that waits for a debugger");
  auto* resume = add("resume", "go on from a run's newest checkpoint", Verb::kResume, "RUN");
  resume->add_option("overrides", arguments.overrides, "key=value");
  resume->add_flag("--save-only", arguments.save_only,
                   "only write the state that memory kept as a checkpoint");
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
  replay->add_flag("--anomaly", arguments.anomaly, "stop at the first gradient that is no number");
  auto* bench = add("bench-comm", "time of sums over all ranks", Verb::kBenchComm, nullptr);
  bench->add_option("--sizes", arguments.sizes, "bytes, as 4K,1M or 4K:64M");
  bench->add_flag("--json", arguments.json, "as JSON");
  add("devices", "GPUs that this process sees, as JSON", Verb::kDevices, nullptr);
  add("forget", "remove what a run's ranks kept in this host's memory", Verb::kForget, nullptr);
  auto* describe = add("describe", "sizes of the model as JSON", Verb::kDescribe, "CONFIG");
  describe->add_option("overrides", arguments.overrides, "key=value");
}

/// To people, and to the run's events where there is a run.
void tell_early_failure(const Worker& worker, const base::Error& error) {
  const auto run = worker.arguments.run_dir.empty() ? worker.run_path : worker.arguments.run_dir;
  bool shown = false;
  if (worker.writes_run() && !run.empty()) {
    const auto path = base::absolute_path(run);
    const auto begin = files().file_size(base::join_path(path, "events.jsonl")).value_or(0);
    const FailureNote note{
        .rank = 0, .host = base::host_name(), .message = error.what(), .code = error.code()};
    // No rank of this launch writes the run yet: whoever does is another one.
    const auto holder = checkpoints::holder_of(checkpoints::RunDirectory::open(files(), ".", path));
    const bool noted = holder.empty() && note_first_failure(files(), path, begin, note);
    shown = noted && worker.supervised() && error.code() != ExitCode::kUsage;
  }
  if (!shown) std::fprintf(stderr, "error: %s\n", error.what());
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
    // Before the supervisor sees this rank: from then on it sends it requests to stop.
    if (worker.stops_on_request()) worker.stop.emplace();
    worker.board = StatusBoard::find(worker.environment);
    worker.row().take(::getpid());
    note_fatal_signals(worker.row());
    if (worker.arguments.gdb == worker.launched.rank) wait_for_debugger(worker);
    const bool trains =
        worker.arguments.verb == Verb::kTrain || worker.arguments.verb == Verb::kResume;
    const bool supervised = trains && worker.board;
    const auto code = run(worker);
    worker.row().note({Ending::Kind::kExit, static_cast<int>(code)});
    // A supervisor knows a stop from the run's events; mpirun would wait a second before it ends
    // the others of a rank that ended with another code than 0.
    if (supervised && code == ExitCode::kStopped) return 0;
    return static_cast<int>(code);
  } catch (const base::Error& error) {
    // Before the ranks know of each other: all of them see the same, one tells.
    if (worker.launched.rank == 0) tell_early_failure(worker, error);
    worker.row().note({Ending::Kind::kExit, static_cast<int>(error.code())});
    return static_cast<int>(error.code());
  }
}

}  // namespace
}  // namespace lockstep::launcher

int main(int argc, char** argv) {
  // Training does not end because nobody reads what it prints any more.
  std::signal(SIGPIPE, SIG_IGN);
  const int code = lockstep::launcher::main_of(argc, argv);
  std::fflush(nullptr);
  // Static destructors of the libraries cost more than the exit itself and do nothing for us.
  ::_exit(code);
}
