#include "trainer/trainer.hpp"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/anomaly_mode.h>

#include <bit>
#include <cmath>
#include <csignal>

#include "base/hash.hpp"
#include "base/text.hpp"
#include "comm/agreement.hpp"
#include "trainer/evaluation.hpp"
#include "trainer/step_batches.hpp"

namespace lockstep::trainer {
namespace {

std::string sample_digest(const data::LoaderPlan& plan, const std::string& fingerprint,
                          std::int64_t steps_per_epoch, std::int64_t step) {
  // Which samples a step uses follows from these numbers alone.
  const auto first = step % steps_per_epoch * plan.global_batch;
  const auto text = fingerprint + " seed " + std::to_string(plan.seed) + " epoch " +
                    std::to_string(step / steps_per_epoch) + " positions " + std::to_string(first) +
                    " to " + std::to_string(first + plan.global_batch) + " of " +
                    std::to_string(plan.samples) + " " + plan.order.described();
  const auto digest = base::xxh3_128(std::as_bytes(std::span(text.data(), text.size())));
  return base::to_hex(digest);
}

/// A run is a function of its data too: it does not go on with other samples.
void require_same_data(const checkpoints::DataRecord& begun_with,
                       const data::SampleSource& source) {
  if (begun_with.fingerprint.empty() || begun_with.fingerprint == source.info().fingerprint) return;
  throw base::DataError(
      "data file " + base::quote(source.name()) + " is not what the run began with (" +
      std::to_string(source.info().samples) + " samples with fingerprint " +
      source.info().fingerprint.substr(0, 12) + " instead of " +
      std::to_string(begun_with.samples) + " with " + begun_with.fingerprint.substr(0, 12) +
      "); bring the data back, or train a new run on it");
}

}  // namespace

Trainer::Trainer(TrainerOptions options, RankGroup group, base::Position& position)
    : options_(std::move(options)),
      group_(group),
      position_(position),
      divergence_(options_.config.train.divergence),
      made_(assemble(options_.config, options_.config_hash, options_.cache_directory,
                     options_.limits, group, place())) {
  require_best_metric();
  known_.run = options_.run.name();
  known_.config_hash = options_.config_hash;
  known_.seed = options_.config.train.seed;
  known_.world_size = group_.world.size();
  if (options_.anomaly) torch::autograd::AnomalyMode::set_enabled(true);
  if (options_.profile) profiler_.emplace(*options_.profile);
  if (options_.save_only && !memory_is_ahead()) return;
  keeper_ = std::make_unique<StateKeeper>(group_, *made_.step, options_.files,
                                          options_.run.checkpoints_path());
  const auto load_begin = options_.clock.now();
  const auto from = options_.resume ? restore() : "start";
  const auto loading = options_.clock.now() - load_begin;
  known_.data_fingerprint =
      group_.world.all_gather_texts(made_.train->info().fingerprint, "data fingerprint")[0];
  if (!made_.step->recovered()) made_.step->begin_at(steps_done_, to_json(known_));
  if (divergence_.remembers() && steps_done_ > 0) recall_divergence();
  comm::on_first_rank(group_.world, "run record", [&] {
    open_record(from, loading);
    return std::string();
  });
  if (options_.limits.any()) return;
  if (recorder_ && !options_.place.kept_memory.empty() && !made_.step->keeps_last_step()) {
    options_.warn(
        "/dev/shm of a node has too little room for the state of the last step: a crash "
        "costs the steps since the newest checkpoint (see 'lockstep doctor')");
  }
  checkpointing_ = std::make_unique<Checkpointing>(
      CheckpointingOptions{.config = options_.config,
                           .files = options_.files,
                           .directory = options_.run.checkpoints_path(),
                           .clock = options_.clock,
                           .faults = options_.faults,
                           .steps_per_epoch = made_.steps_per_epoch,
                           .total_steps = made_.total_steps,
                           .recorder = recorder_.get(),
                           .warn = options_.warn},
      group_, *made_.step);
}

void Trainer::enter(base::Phase phase) {
  if (position_.phase() != phase) position_.enter(phase);
  options_.faults.reached(phase, steps_done_);
}

void Trainer::open_record(const std::string& from, std::chrono::nanoseconds loading) {
  recorder_ = std::make_unique<RunRecorder>(
      options_.files, options_.run, steps_done_,
      made_.step->recovered() ? checkpoints::LastLine::kMayLack : checkpoints::LastLine::kIsThere);
  auto& record = recorder_->record();
  const auto note = [&](const char* use, const data::SampleSource& source) {
    if (options_.resume) require_same_data(record.data[use], source);
    record.data[use] = {.path = source.name(),
                        .fingerprint = source.info().fingerprint,
                        .samples = source.info().samples};
  };
  note("train", *made_.train);
  if (made_.test != nullptr) note("test", *made_.test);
  record.versions["torch"] = TORCH_VERSION;
  record.hosts.clear();
  for (const auto& host : group_.topology.host_of_rank) {
    if (std::ranges::find(record.hosts, host) == record.hosts.end()) record.hosts.push_back(host);
  }
  recorder_->started(group_.world.size(), steps_done_, from, loading);
}

/// Every rank reads the ledger as far as the state goes; a last line that a crash left out is the
/// same everywhere.
void Trainer::recall_divergence() {
  comm::together(group_.world, "steps in the ledger", [&] {
    auto ledger = checkpoints::read_ledger(options_.files, options_.run.ledger_path());
    judged_ = std::ssize(ledger.entries) >= steps_done_;
    if (std::ssize(ledger.entries) > steps_done_) {
      ledger.entries.resize(static_cast<std::size_t>(steps_done_));
    }
    divergence_.recall(ledger.entries);
  });
}

std::string Trainer::restore() {
  enter(base::Phase::kRestore);
  const auto from = restore_from_memory() ? "memory" : restore_from_checkpoint();
  position_.finished(steps_done_);
  made_.loader.first_step = steps_done_;
  return from;
}

Place Trainer::place() {
  auto place = options_.place;
  place.autograd_alone = options_.anomaly;
  place.goes_on_from = [this](std::int64_t step, std::int64_t steps_per_epoch) {
    const auto needed = missing_for_rollback(step, steps_per_epoch);
    if (needed && group_.world.rank() == 0) {
      options_.warn("what memory holds is left: the checkpoint of step " + std::to_string(*needed) +
                    " was not complete, and a rollback would need it");
    }
    return !needed;
  };
  return place;
}

bool Trainer::restore_from_memory() {
  const auto step = made_.step->recovered();
  if (!step) return false;
  steps_done_ = *step;
  // One node's word: each has its own, and a crash may have come between them.
  take_metadata(group_.world.all_gather_texts(made_.step->kept_metadata(steps_done_),
                                              "what was known of the kept state")[0]);
  return true;
}

/// The step whose checkpoint an undisturbed run would go back to from `step` on, if it is not
/// there: it was being written when the ranks ended. Steps are computed again until it is.
std::optional<std::int64_t> Trainer::missing_for_rollback(std::int64_t step,
                                                          std::int64_t steps_per_epoch) const {
  if (options_.config.train.divergence.policy != "rollback") return std::nullopt;
  const auto needed = last_due_by_count(options_.config.checkpoint, steps_per_epoch, step);
  if (needed == 0 || needed == step) return std::nullopt;  // the latter is saved now
  const auto there = comm::on_first_rank(group_.world, "checkpoint for a rollback", [&] {
    checkpoints::CheckpointStore store(options_.files, options_.run.checkpoints_path());
    const auto found = store.newest_good(nullptr, [&](std::int64_t one) { return one == needed; });
    return found.value_or("");
  });
  return there.empty() ? std::optional(needed) : std::nullopt;
}

bool Trainer::memory_is_ahead() const {
  const auto step = made_.step->recovered();
  if (!step) return false;
  const auto newer = comm::on_first_rank(group_.world, "newest checkpoint", [&] {
    checkpoints::CheckpointStore store(options_.files, options_.run.checkpoints_path());
    const auto found = store.newest_good(nullptr, [&](std::int64_t one) { return one >= *step; });
    return found.value_or("");
  });
  return newer.empty();
}

std::string Trainer::restore_from_checkpoint() {
  auto path = options_.from_checkpoint;
  if (path.empty()) {
    path = comm::on_first_rank(group_.world, "newest checkpoint", [&] {
      std::vector<std::string> problems;
      checkpoints::CheckpointStore store(options_.files, options_.run.checkpoints_path());
      // The steps behind a checkpoint must be in the ledger.
      const auto steps = steps_in_ledger();
      const auto found = store.newest_good(&problems, [&](std::int64_t step) {
        if (step <= steps) return true;
        problems.push_back("checkpoint of step " + std::to_string(step) +
                           ": the ledger is whole up to step " + std::to_string(steps) +
                           " only (lines are missing or changed)");
        return false;
      });
      for (const auto& problem : problems) options_.warn("passed over: " + problem);
      if (!found && !problems.empty()) throw base::CheckpointError(problems.front());
      if (!found && steps > 0) {
        options_.warn("no checkpoint is left of " + std::to_string(steps) +
                      " steps: they are computed again");
      }
      return found.value_or("");
    });
    if (path.empty()) return "start";  // it never came to a checkpoint
  }
  const auto info = keeper_->load(path);
  steps_done_ = info.step;
  known_.metrics_step = steps_done_;  // unless the checkpoint says otherwise, as older ones do not
  take_metadata(info.metadata_json);
  return path;
}

std::int64_t Trainer::steps_in_ledger() const {
  if (!options_.files.file_size(options_.run.ledger_path())) return 0;
  return std::ssize(checkpoints::read_ledger(options_.files, options_.run.ledger_path()).entries);
}

void Trainer::take_metadata(const std::string& text) {
  const auto saved_hash = take_from_json(text, known_);
  if (options_.config.compute.precision != "f16") known_.loss_scale.reset();
  if (known_.loss_scale) made_.step->set_loss_scale(*known_.loss_scale);
  if (saved_hash != options_.config_hash && group_.world.rank() == 0) {
    options_.warn("the checkpoint was made with another configuration (hash " +
                  saved_hash.substr(0, 12) + ", now " + options_.config_hash.substr(0, 12) +
                  "): the result is that of neither alone");
  }
}

double Trainer::epochs_at(std::int64_t step) const {
  return static_cast<double>(step) / static_cast<double>(made_.steps_per_epoch);
}

TrainingOutcome Trainer::run() {
  if (options_.save_only && !checkpointing_) return {.code = base::ExitCode::kStopped};
  stopped_ = options_.save_only;
  const data::LoaderOptions loader{
      .depth = options_.config.data.queue_depth,
      .deadline = std::chrono::duration_cast<std::chrono::milliseconds>(
          std::chrono::duration<double>(options_.config.launch.deadline_seconds)),
      .decode_threads = options_.config.data.decode_threads};
  made_.step->parameters().model().train();
  if (options_.resume) catch_up();
  if (!stopped_ && steps_done_ < made_.total_steps) {
    StepBatches batches(*made_.train, made_.loader, loader);
    const auto begin = options_.clock.now();
    const auto first = steps_done_;
    while (steps_done_ < made_.total_steps && !stopped_) {
      const auto iteration_begin = std::chrono::steady_clock::now();
      if (profiler_) profiler_->before(steps_done_ + 1);
      const auto name = profiler_ ? "step " + std::to_string(steps_done_ + 1) : std::string();
      auto note = [&] {
        RECORD_USER_SCOPE(name);
        return train_one(steps_done_, batches);
      }();
      face_divergence(note);
      steps_done_ = note.step;
      position_.finished(steps_done_);
      const bool last = steps_done_ == made_.total_steps;
      const int stops = note.result.signals.stop_requests;
      if (stops > 1) {
        const bool interrupt = options_.stop.first_signal() == SIGINT;
        throw base::Error(interrupt ? base::ExitCode::kInterrupted : base::ExitCode::kTerminated,
                          "stopped at once after step " + std::to_string(steps_done_) +
                              " (a second request came before the state was saved); resume from "
                              "the last checkpoint");
      }
      stopped_ = stops > 0 && !last;
      if (profiler_) profiler_->after(note.step);
      if (checkpointing_) checkpointing_->step_done(note);
      const bool more = conclude(note);
      if (recorder_) report(note, options_.clock.now() - begin, steps_done_ - first);
      // What rank 0 writes about a plain step is part of it.
      totals_.add(note.times,
                  more ? note.wall : std::chrono::steady_clock::now() - iteration_begin);
    }
  }
  if (profiler_ && !profiler_->finish() && recorder_) {
    options_.warn("no step was traced: the run has none of those that --profile names");
  }
  if (digest_.empty()) digest_ = keeper_->digest(steps_done_);
  note_anatomy();
  if (recorder_) {
    recorder_->record().step = steps_done_;
    recorder_->record().epoch = epochs_at(steps_done_);
    recorder_->record().state_digest = digest_;
    recorder_->sync_ledger();
    recorder_->write_record();
  }
  return {.code = stopped_ ? base::ExitCode::kStopped : base::ExitCode::kDone,
          .step = steps_done_,
          .state_digest = digest_,
          .metrics = known_.metrics};
}

bool Trainer::conclude(const StepNote& note) {
  const bool evaluate =
      !options_.save_only && evaluation_due(note.step) && known_.metrics_step != note.step;
  if (evaluate && !evaluate_now(note.step)) stopped_ = true;
  const bool ends = stopped_ || note.step == made_.total_steps;
  const bool save_now = checkpointing_ && (checkpointing_->wanted(note, evaluate) || ends);
  const auto every = options_.config.log.digest_every_steps;
  const bool digest_due =
      !save_now && ((ends && !stopped_) || (every > 0 && note.step % every == 0));
  if (digest_due) {
    // On a device both are of the one image in memory.
    if (checkpointing_ && options_.place.device != nullptr) checkpointing_->finish();
    digest_ = keeper_->digest(note.step);
  }
  if (recorder_ && recorder_->last_step() < note.step) {
    recorder_->step_done(note, digest_due ? digest_ : "", metrics_due(note.step));
  }
  if (save_now) save(note, ends);
  if (evaluate || save_now) made_.step->keep_metadata(note.step, to_json(known_));
  return evaluate || save_now;
}

void Trainer::catch_up() {
  if (steps_done_ == 0) return;
  const bool evaluated = !evaluation_due(steps_done_) || known_.metrics_step == steps_done_;
  if (!made_.step->recovered() && evaluated) return;
  auto note = note_of(steps_done_ - 1);
  if (made_.step->recovered()) {
    note.result = made_.step->recovered_result();
    if (known_.dropped_step == steps_done_) {
      note.skipped = known_.dropped_reason;
      if (!judged_) divergence_.recall({{.step = note.step, .skipped = note.skipped}});
    } else if (!judged_) {
      face_divergence(note);
    }
  }
  note.result.signals = {};  // of ranks that are gone
  conclude(note);
}

StepNote Trainer::note_of(std::int64_t step) const {
  StepNote note;
  note.step = step + 1;
  note.epoch = step / made_.steps_per_epoch;
  note.epochs_done = epochs_at(step + 1);
  note.samples_count = made_.loader.global_batch;
  note.world_size = group_.world.size();
  if (recorder_) {
    note.samples =
        sample_digest(made_.loader, known_.data_fingerprint, made_.steps_per_epoch, step);
  }
  return note;
}

/// As a drill asks: the first micro-batch of this rank with inputs that are no numbers, or a bit of
/// the parameters flipped before it.
MicroBatch Trainer::poisoned(MicroBatch batch, std::int64_t step) const {
  if (options_.faults.wants(base::Fault::Kind::kNan, base::Phase::kStep, step) &&
      batch.index == made_.loader.micro_begin && batch.inputs.is_floating_point()) {
    batch.inputs = torch::full_like(batch.inputs, std::nan(""));
  }
  if (options_.faults.wants(base::Fault::Kind::kCorrupt, base::Phase::kStep, step) &&
      batch.index == made_.loader.micro_begin) {
    // As a bad memory cell does: the lowest bit of a parameter in this node's or device's copy.
    const auto& memory = made_.step->parameters().memory();
    const auto first = view_of(memory.flat, {1}, memory.device);
    first.fill_(std::bit_cast<float>(std::bit_cast<std::uint32_t>(first.item<float>()) ^ 1U));
  }
  return batch;
}

StepNote Trainer::train_one(std::int64_t step, StepBatches& batches) {
  enter(base::Phase::kStep);
  const auto begin = std::chrono::steady_clock::now();
  if (options_.faults.wants(base::Fault::Kind::kMismatch, base::Phase::kStep, step)) {
    group_.world.barrier("a call that a drill makes on this rank alone");
  }
  auto note = note_of(step);
  note.result = (*made_.step)(
      step,
      [&] {
        RECORD_USER_SCOPE("data");
        return poisoned(batches.next(), step);
      },
      checkpointing_ ? checkpointing_->signals(options_.stop.requests())
                     : RankSignals{.stop_requests = options_.stop.requests()},
      step + 1 < made_.total_steps && options_.faults.empty());
  if (note.result.loss_scale > 0) known_.loss_scale = made_.step->loss_scale();
  note.times = made_.step->times();
  note.times.data = batches.take_waited();
  note.wall = std::chrono::steady_clock::now() - begin;
  return note;
}

void Trainer::face_divergence(StepNote& note) {
  if (note.result.overflowed) {
    note.skipped = overflow_at(note.result.loss_scale);
    return;
  }
  auto decision = divergence_.judge(note.result);
  using Action = Divergence::Action;
  if (decision.action == Action::kNone) return;
  DivergenceNote told{.step = note.step,
                      .reason = decision.reason,
                      .action = name_of(decision.action),
                      .samples = {}};
  if (recorder_) told.samples = samples_of(made_.loader, note.step - 1);
  enter(base::Phase::kDivergence);
  // What was still good is durable then, and no save removes the checkpoint that is gone back to.
  if (checkpointing_ && decision.action != Action::kSkip) checkpointing_->finish();
  BackTo back;
  if (decision.action == Action::kRollback) {
    back = checkpoint_before(note);
    if (back.path.empty()) {
      decision.action = Action::kStop;
      decision.reason += ", and there is no checkpoint before it to go back to,";
    }
  }
  told.reason = decision.reason;
  told.action = name_of(decision.action);
  note.skipped = decision.reason;
  if (decision.action == Action::kRollback) {
    told.back_to = back.step;
    note.skipped = "rollback to step " + std::to_string(back.step) + ": " + decision.reason;
  }
  // First of all: whoever is killed on the way does it once more.
  if (recorder_) recorder_->diverged(note, told);
  undo(note, decision.action, back);
  if (decision.action == Action::kStop) {
    throw base::DivergenceError(
        decision.reason + " in step " + std::to_string(note.step) +
        " (training diverged: the learning rate is too high, or a sample is bad; events.jsonl has "
        "the step's samples); start a run with a lower train.optimizer.lr, with "
        "train.clip_norm or another train.divergence.policy");
  }
  if (recorder_) {
    options_.warn("step " + std::to_string(note.step) + " diverged: " + decision.reason + "; " +
                  (decision.action == Action::kSkip
                       ? std::string("its update is dropped")
                       : "back to the state of step " + std::to_string(told.back_to)));
  }
}

void Trainer::undo(const StepNote& note, Divergence::Action action, const BackTo& back) {
  if (action == Divergence::Action::kStop) {
    // Nobody goes on from a state that is no good.
    if (made_.step->keeps_last_step())
      made_.step->take_back(note.step, note.step - 1, to_json(known_));
    group_.world.barrier("the end of a step that diverged");  // before anybody ends the others
    return;
  }
  known_.dropped_step = note.step;
  known_.dropped_reason = note.skipped;
  if (action == Divergence::Action::kSkip) {
    made_.step->take_back(note.step, note.step, to_json(known_));
  } else {
    keeper_->load(back.path);
    made_.step->begin_at(note.step, to_json(known_));
  }
  options_.faults.reached(base::Phase::kDivergence, note.step);
}

Trainer::BackTo Trainer::checkpoint_before(const StepNote& note) const {
  const auto answer = comm::on_first_rank(group_.world, "checkpoint to go back to", [&] {
    checkpoints::CheckpointStore store(options_.files, options_.run.checkpoints_path());
    // Not that of a stop in between, or the result would depend on it; where checkpoints are made
    // by time alone, any.
    const auto& config = options_.config.checkpoint;
    const auto before = [&](std::int64_t step) { return step < note.step; };
    auto found = store.newest_good(nullptr, [&](std::int64_t step) {
      return before(step) && due_by_count(config, made_.steps_per_epoch, step);
    });
    if (!found) found = store.newest_good(nullptr, before);
    if (!found) return std::string();
    return std::to_string(store.open(*found).info.step) + " " + *found;
  });
  if (answer.empty()) return {};
  const auto space = answer.find(' ');
  return {.step = std::stoll(answer), .path = answer.substr(space + 1)};
}

void Trainer::note_anatomy() {
  if (options_.save_only) return;  // no step was computed
  std::vector<StepTotals> all(static_cast<std::size_t>(group_.world.size()));
  group_.world.all_gather(std::as_bytes(std::span(&totals_, 1)),
                          std::as_writable_bytes(std::span(all)), "step times");
  if (recorder_) {
    recorder_->record().step_anatomy = compare_ranks(all, group_.topology.host_of_rank);
  }
}

bool Trainer::metrics_due(std::int64_t step) const {
  const auto every = options_.config.log.metrics_every_steps;
  return every > 0 && step % every == 0;
}

bool Trainer::evaluation_due(std::int64_t step) const {
  if (made_.test == nullptr) return false;
  const auto& config = options_.config.evaluate;
  if (step == made_.total_steps) return true;
  if (config.every_steps > 0 && step % config.every_steps == 0) return true;
  return config.every_epochs > 0 && step % (config.every_epochs * made_.steps_per_epoch) == 0;
}

bool Trainer::evaluate_now(std::int64_t step) {
  enter(base::Phase::kEvaluation);
  EvaluationOptions evaluation{.batch = options_.config.evaluate.batch};
  if (options_.limits.fast_dev_steps > 0) {
    evaluation.most_samples = options_.limits.fast_dev_steps * evaluation.batch;
  }
  evaluation.cut_short = [&] { return options_.stop.requests() > 0; };
  const auto metrics =
      evaluate(group_, made_.step->parameters(), *made_.objective, *made_.test, evaluation);
  if (!metrics) return false;
  known_.metrics = *metrics;
  known_.metrics_step = step;
  if (checkpointing_) checkpointing_->let_commit_end();
  if (recorder_) recorder_->evaluated(step, epochs_at(step), known_.metrics);
  return true;
}

BestMetric Trainer::metric_of_best() const {
  const auto& wanted = options_.config.checkpoint.best;
  if (wanted == "auto") return best_metric(made_.objective_kind);
  return {.name = wanted, .larger_is_better = wanted == "accuracy"};
}

void Trainer::require_best_metric() const {
  const auto& wanted = options_.config.checkpoint.best;
  if (wanted == "none" || made_.objective->metrics({}).contains(metric_of_best().name)) return;
  throw base::ConfigError("checkpoint.best names metric " + base::quote(wanted) +
                          ", evaluation has no such one; leave it at auto");
}

void Trainer::save(const StepNote& note, bool ends) {
  enter(base::Phase::kSave);
  if (options_.config.checkpoint.best != "none") {
    consider_best(note.step, metric_of_best(), known_);
  }
  note_anatomy();
  const checkpoints::CheckpointInfo info{.step = note.step,
                                         .epoch = note.step / made_.steps_per_epoch,
                                         .metadata_json = to_json(known_)};
  if (ends) {
    digest_ = checkpointing_->save_and_wait(info, known_.best_step);
  } else {
    checkpointing_->save(info, known_.best_step);
  }
}

void Trainer::report(const StepNote& note, std::chrono::nanoseconds since_start,
                     std::int64_t steps_here) {
  const auto per_step = since_start / steps_here;
  options_.progress({.step = note.step,
                     .total_steps = made_.total_steps,
                     .epoch = note.epoch + 1,
                     .epochs = options_.config.train.epochs,
                     .loss = note.result.loss,
                     .samples_per_second = static_cast<double>(note.samples_count) /
                                           std::chrono::duration<double>(per_step).count(),
                     .remaining = per_step * (made_.total_steps - note.step)});
}

}  // namespace lockstep::trainer
