// The worker's verbs that train: everything around a Trainer.

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/fault.hpp"
#include "base/text.hpp"
#include "checkpoints/json_lines.hpp"
#include "configs/writer.hpp"
#include "launcher/health_writer.hpp"
#include "launcher/kept_memory.hpp"
#include "launcher/run_card.hpp"
#include "launcher/settle_run.hpp"
#include "launcher/stack_dump.hpp"
#include "launcher/step_range.hpp"
#include "launcher/worker.hpp"
#include "trainer/trainer.hpp"

namespace lockstep::launcher {
namespace {

using base::ExitCode;

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
                                           const checkpoints::RunDirectory& run,
                                           const NodeKeptMemory* kept) {
  const auto& topology = session.group().topology;
  const auto& host = topology.host_of_rank[static_cast<std::size_t>(topology.rank)];
  std::vector<int> ranks;
  for (int rank = 0; rank < topology.world_size; ++rank) {
    if (topology.host_of_rank[static_cast<std::size_t>(rank)] == host) ranks.push_back(rank);
  }
  if (!worker.board || ranks.front() != topology.rank) return nullptr;
  return std::make_unique<HealthWriter>(files(), run.health_path(host), *worker.board, ranks,
                                        [kept] {
                                          if (kept != nullptr) kept->keep();
                                        });
}

/// Where the state of the last finished step outlives this node's ranks; without a path unless
/// every node has such a place. Collective.
std::unique_ptr<NodeKeptMemory> kept_memory_of(const Worker& worker, WorkerSession& session) {
  // What a GPU holds does not outlive its process.
  if (worker.arguments.limits.any() || worker.device) return nullptr;
  const auto& topology = session.group().topology;
  const auto open = [&](bool makes) {
    return std::make_unique<NodeKeptMemory>(worker.environment, topology.node, makes);
  };
  const bool first = topology.local_rank == 0;
  auto kept = first ? open(true) : nullptr;
  session.group().node.barrier("the making of kept memory");
  if (!first) kept = open(false);
  std::int64_t everywhere = kept->path().empty() ? 0 : 1;
  session.world().all_reduce(std::span(&everywhere, 1), comm::ReduceOp::kMin, "kept memory");
  if (first && kept) kept->remove_strays();
  if (everywhere == 0) kept.reset();
  return kept;
}

std::optional<trainer::ProfileOptions> profile_of(const Worker& worker,
                                                  const checkpoints::RunDirectory& run, int rank) {
  if (worker.arguments.profile.empty()) return std::nullopt;
  const auto steps = parse_steps(worker.arguments.profile);
  return trainer::ProfileOptions{.first = steps.first,
                                 .last = steps.last,
                                 .path = run.profile_path(rank),
                                 .gpu = worker.device != nullptr};
}

}  // namespace

ExitCode train(Worker& worker, WorkerSession& session, base::Log& log) {
  const auto begin = std::chrono::steady_clock::now();
  const auto run = checkpoints::RunDirectory::open(files(), ".", worker.run_path);
  const int rank = session.world().rank();
  log.open_json(run.log_path(rank));
  const auto& config = worker.loaded.config;
  log.debug("rank " + std::to_string(rank) + " of " + std::to_string(session.world().size()) +
            ", process " + std::to_string(::getpid()));
  const bool resume = worker.arguments.verb == Verb::kResume;
  const checkpoints::RunMinder minder(run);  // it is long before the run is written to
  share_board(worker, session);
  const auto kept = kept_memory_of(worker, session);
  const auto health = write_health(worker, session, run, kept.get());
  write_stacks_to(run.stack_path(rank));
  if (worker.device) worker.gpus->explain_lack_of_memory(run.memory_path(rank));
  session.world().show_waits_in(worker.row().wait);
  const auto faults = faults_of(worker);
  faults.reached(base::Phase::kStart, 0);
  trainer::Trainer trainer(
      {.config = config,
       .config_hash = configs::config_hash(config),
       .cache_directory = base::cache_directory(worker.environment),
       .limits = worker.arguments.limits,
       .run = run,
       .from_checkpoint = worker.checkpoint_path,
       .resume = resume,
       .save_only = worker.arguments.save_only,
       .anomaly = worker.arguments.anomaly,
       .profile = profile_of(worker, run, rank),
       .files = files(),
       .clock = base::Clock::system(),
       .stop = *worker.stop,
       .place = {.kept_memory = kept ? kept->path() : "", .device = worker.device.get()},
       .faults = faults,
       .progress = ProgressPrinter(worker.style, config.log.progress_seconds),
       .warn = [&](const std::string& text) { log.warning(text); }},
      session.group(), worker.position());
  const auto outcome = trainer.run();
  worker.position().enter(base::Phase::kEnd);
  faults.reached(base::Phase::kEnd, outcome.step);
  session.world().barrier("the end of the run");
  forget_kept_memory(worker.environment);
  // How the run ended is known already to whoever wants its state saved.
  if (rank == 0 && !worker.arguments.save_only) {
    note_end(worker, outcome.code);
    if (!worker.supervised()) {
      const auto card = end_card(worker.style, run.read_record(), run.path(),
                                 std::chrono::steady_clock::now() - begin);
      std::fwrite(card.data(), 1, card.size(), stdout);
    }
  }
  return outcome.code;
}

}  // namespace lockstep::launcher
