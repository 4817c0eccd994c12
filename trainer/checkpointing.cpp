#include "trainer/checkpointing.hpp"

#include <algorithm>
#include <utility>

#include "base/text.hpp"
#include "checkpoints/cadence.hpp"
#include "comm/agreement.hpp"

namespace lockstep::trainer {

Checkpointing::Checkpointing(CheckpointingOptions options, RankGroup group, TrainStep& train_step)
    : options_(std::move(options)),
      group_(group),
      train_step_(train_step),
      cadence_(options_.config.checkpoint, cadence_inputs()),
      saver_(
          {.files = options_.files,
           .directory = options_.directory,
           .clock = options_.clock,
           .faults = options_.faults,
           .copies = options_.config.checkpoint.background ? CheckpointSaverOptions::Copies::kKept
                                                           : CheckpointSaverOptions::Copies::kNone,
           .observer = observer()},
          group, train_step) {
  require_room();
}

CadenceInputs Checkpointing::cadence_inputs() const {
  CadenceInputs inputs{
      .steps_per_epoch = options_.steps_per_epoch,
      .state_bytes = StateFiles(train_step_, 0, group_.topology).bytes(),
      .wall_limit = std::chrono::duration<double>(options_.config.launch.wall_limit),
      .begin = options_.clock.now()};
  if (options_.recorder != nullptr) {
    const auto& record = options_.recorder->record();
    inputs.time_between_failures =
        checkpoints::time_between_failures(group_.topology.node_count, record.restarts,
                                           checkpoints::age_of(record, options_.clock.wall()));
  }
  return inputs;
}

SaveObserver Checkpointing::observer() {
  if (options_.recorder == nullptr) return {};
  return {
      .digest_known =
          [this](std::int64_t step, const std::string& digest) {
            return options_.recorder->digest_known(step, digest);
          },
      .saved =
          [this](const SavedCheckpoint& saved) {
            cadence_.saved(saved.blocked);
            options_.recorder->checkpoint_saved(saved, cadence_.interval());
            if (!saved.retention_problem.empty()) {
              options_.warn("older checkpoints stay for now: " + saved.retention_problem);
            }
          },
      .failed =
          [this](std::int64_t step, const std::string& reason) {
            options_.recorder->checkpoint_failed(step, reason);
            options_.warn("the checkpoint of step " + std::to_string(step) +
                          " was not saved, the one before it stays, training goes on: " + reason);
          }};
}

void Checkpointing::require_room() {
  comm::on_first_rank(group_.world, "room for checkpoints", [&] {
    const auto& config = options_.config.checkpoint;
    const StateFiles state(train_step_, 0, group_.topology);
    checkpoints::DiskNeed need{.state_bytes = state.bytes(),
                               .frozen_bytes = state.frozen_bytes(),
                               .keep = config.keep,
                               .best = config.best != "none"};
    checkpoints::CheckpointStore store(options_.files, options_.directory, options_.clock);
    for (const auto& checkpoint : store.list()) need.held_bytes += checkpoint.bytes;
    if (config.keep_every_steps > 0) {
      need.kept_for_good = options_.total_steps / config.keep_every_steps;
    }
    const auto& place = options_.files.is_directory(options_.directory)
                            ? options_.directory
                            : base::parent_path(options_.directory);
    const auto free = options_.files.free_bytes(place);
    if (free < need.least_bytes()) {
      throw base::EnvironmentError(
          "disk of " + base::quote(place) + " has " + base::format_bytes(free) +
          " free, a checkpoint and its successor need " + base::format_bytes(need.least_bytes()) +
          " (each has " + base::format_bytes(need.state_bytes) +
          ", and the old one goes when the new one is complete); free space there or set "
          "run.directory to another disk");
    }
    if (free < need.whole_bytes()) {
      options_.warn("disk of " + base::quote(place) + " has " + base::format_bytes(free) +
                    " free, the checkpoints that are to stay need up to " +
                    base::format_bytes(need.whole_bytes()) +
                    " (later saves may fail); free space there or lower checkpoint.keep");
    }
    return std::string();
  });
}

RankSignals Checkpointing::signals(int stop_requests) const {
  const bool asks = options_.recorder != nullptr && cadence_.asks(options_.clock.now());
  return {.stop_requests = stop_requests, .save_asked = asks ? 1 : 0, .job = saver_.job()};
}

void Checkpointing::step_done(const StepNote& note) {
  cadence_.step_took(note.wall, saver_.busy());
  saver_.advance(note.result.signals.job);
}

bool Checkpointing::wanted(const StepNote& note, bool evaluated) {
  const bool due = cadence_.due(note.step);
  pending_ = pending_ || due || note.result.signals.save_asked > 0;
  return pending_ && (!saver_.busy() || due || evaluated);
}

SaveRequest Checkpointing::request(checkpoints::CheckpointInfo info, std::int64_t best_step) const {
  const auto& config = options_.config.checkpoint;
  checkpoints::Retention retention{
      .keep = config.keep, .best_step = best_step, .every_steps = config.keep_every_steps};
  if (options_.config.train.divergence.policy == "rollback") {
    retention.rollback_step = last_due_by_count(config, options_.steps_per_epoch, info.step);
  }
  return {.info = std::move(info), .retention = retention};
}

void Checkpointing::save(checkpoints::CheckpointInfo info, std::int64_t best_step) {
  if (!options_.config.checkpoint.background) {
    save_and_wait(std::move(info), best_step);
    return;
  }
  pending_ = false;
  saver_.finish();
  cadence_.began(options_.clock.now());
  saver_.begin(request(std::move(info), best_step));
}

std::string Checkpointing::save_and_wait(checkpoints::CheckpointInfo info, std::int64_t best_step) {
  pending_ = false;
  cadence_.began(options_.clock.now());
  return saver_.save_and_wait(request(std::move(info), best_step));
}

}  // namespace lockstep::trainer
