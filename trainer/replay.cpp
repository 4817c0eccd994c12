#include "trainer/replay.hpp"

#include <torch/csrc/autograd/anomaly_mode.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "checkpoints/json_lines.hpp"
#include "checkpoints/ledger.hpp"
#include "trainer/assembly.hpp"
#include "trainer/divergence.hpp"
#include "trainer/run_metadata.hpp"
#include "trainer/state_keeper.hpp"
#include "trainer/step_batches.hpp"

namespace lockstep::trainer {
namespace {

/// What is no number is all the same.
bool same_bits(double a, double b) {
  if (!std::isfinite(a) && !std::isfinite(b)) return true;
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

/// The newest good checkpoint of a step before `step`; nothing when there is none.
std::optional<std::string> checkpoint_before(checkpoints::CheckpointStore& store,
                                             std::int64_t step) {
  auto all = store.list();
  std::ranges::reverse(all);
  for (const auto& one : all) {
    if (one.valid && one.step < step) return one.path;
  }
  return std::nullopt;
}

/// The step that ended the run because it diverged: its numbers are in the events, as the ledger
/// has finished steps alone. An event has null for what is no number.
std::optional<checkpoints::LedgerEntry> diverged_after(const ReplayOptions& options,
                                                       std::int64_t step) {
  std::optional<checkpoints::LedgerEntry> found;
  for (const auto& event : checkpoints::read_json_lines(options.files, options.run.events_path())) {
    if (event.value("event", "") != "divergence" || event.value("action", "") != "stop" ||
        event.value("step", std::int64_t{0}) != step + 1) {
      continue;
    }
    const auto number = [&](const char* key) {
      const auto place = event.find(key);
      return place != event.end() && place->is_number() ? place->get<double>() : std::nan("");
    };
    found = {.step = step + 1, .loss = number("loss"), .gradient_norm = number("gradient_norm")};
  }
  return found;
}

void require_step(const ReplayOptions& options,
                  const std::vector<checkpoints::LedgerEntry>& entries,
                  std::int64_t micro_batches) {
  if (options.step < 1 || options.step > std::ssize(entries)) {
    throw base::ConfigError("the run has no step " + std::to_string(options.step) +
                            " (its ledger has steps 1 to " + std::to_string(entries.size()) +
                            "); give one of them with --step");
  }
  if (options.config.train.micro_batch == 0) {
    throw base::ConfigError(
        "the run has one micro-batch a rank (train.micro_batch is 0, so its bits depend on the "
        "number of ranks); only runs with train.micro_batch can be replayed");
  }
  if (options.micro_batch >= micro_batches) {
    throw base::ConfigError("a step of the run has no micro-batch " +
                            std::to_string(options.micro_batch) + " (they are counted from 0 to " +
                            std::to_string(micro_batches - 1) + "); give one of them");
  }
}

}  // namespace

bool ReplayedStep::same() const {
  return same_bits(loss, recorded_loss) && same_bits(gradient_norm, recorded_gradient_norm);
}

bool ReplayReport::same() const {
  const bool digest = recorded_state_digest.empty() || recorded_state_digest == state_digest;
  return digest && std::ranges::all_of(steps, &ReplayedStep::same);
}

ReplayReport replay(const ReplayOptions& options, RankGroup group, base::Position& position) {
  auto ledger = checkpoints::read_ledger(options.files, options.run.ledger_path());
  if (!ledger.problem.empty()) {
    throw base::CheckpointError("ledger " + base::quote(options.run.ledger_path()) + ": " +
                                ledger.problem + " (it was changed); see 'lockstep verify'");
  }
  const auto diverged = diverged_after(options, std::ssize(ledger.entries));
  if (diverged) ledger.entries.push_back(*diverged);
  const auto& train = options.config.train;
  require_step(options, ledger.entries,
               train.micro_batch > 0 ? train.global_batch / train.micro_batch : 1);

  auto made = assemble(options.config, options.config_hash, options.cache_directory, {}, group,
                       {.autograd_alone = options.anomaly, .device = options.device});
  auto& step = *made.step;
  StateKeeper keeper(group, step, options.files, options.run.checkpoints_path());
  checkpoints::CheckpointStore store(options.files, options.run.checkpoints_path());
  ReplayReport report;
  report.from = "start";
  position.enter(base::Phase::kRestore);
  if (const auto path = checkpoint_before(store, options.step)) {
    report.from = *path;
    const auto info = keeper.load(*path);
    report.from_step = info.step;
    RunMetadata known;
    take_from_json(info.metadata_json, known);
    if (known.loss_scale) step.set_loss_scale(*known.loss_scale);
  }
  step.begin_at(report.from_step, "");
  made.loader.first_step = report.from_step;
  made.loader.last_step = options.step;

  position.enter(base::Phase::kStep);
  step.parameters().model().train();
  StepBatches batches(*made.train, made.loader,
                      {.depth = options.config.data.queue_depth,
                       .deadline = std::chrono::milliseconds(static_cast<std::int64_t>(
                           options.config.launch.deadline_seconds * 1000)),
                       .decode_threads = options.config.data.decode_threads});
  for (auto done = report.from_step; done < options.step; ++done) {
    const auto& entry = ledger.entries[static_cast<std::size_t>(done)];
    if (entry.skipped.starts_with("rollback")) {
      throw base::CheckpointError("step " + std::to_string(entry.step) +
                                  " went back to an older checkpoint (" + entry.skipped +
                                  "), and there is none between it and step " +
                                  std::to_string(options.step) +
                                  "; replay a step before it, or one after a later "
                                  "checkpoint");
    }
    // It costs a hundred times the step.
    if (options.anomaly && done + 1 == options.step) {
      torch::autograd::AnomalyMode::set_enabled(true);
    }
    const auto result = step(done, [&] { return batches.next(); }, {});
    report.steps.push_back({.step = entry.step,
                            .loss = result.loss,
                            .recorded_loss = entry.loss,
                            .gradient_norm = result.gradient_norm,
                            .recorded_gradient_norm = entry.gradient_norm,
                            .skipped = !entry.skipped.empty(),
                            .diverged = diverged && done + 1 == diverged->step});
    if (done + 1 == options.step && options.micro_batch >= 0) {
      report.micro_batch_loss =
          step.micro_batch_losses(options.step)[static_cast<std::size_t>(options.micro_batch)];
    }
    if (!entry.skipped.empty() && !is_overflow(entry.skipped))
      step.take_back(done + 1, done + 1, "");
    position.finished(done + 1);
  }
  report.state_digest = keeper.digest(options.step);
  report.recorded_state_digest =
      ledger.entries[static_cast<std::size_t>(options.step) - 1].state_digest;
  report.samples = samples_of(made.loader, options.step - 1);
  if (options.micro_batch >= 0) {
    const auto begin = report.samples.begin() + options.micro_batch * train.micro_batch;
    report.samples = {begin, begin + train.micro_batch};
  }
  return report;
}

std::string to_json(const ReplayReport& report) {
  nlohmann::ordered_json steps = nlohmann::json::array();
  for (const auto& step : report.steps) {
    steps.push_back({{"step", step.step},
                     {"same", step.same()},
                     {"loss", step.loss},
                     {"recorded_loss", step.recorded_loss},
                     {"gradient_norm", step.gradient_norm},
                     {"recorded_gradient_norm", step.recorded_gradient_norm},
                     {"skipped", step.skipped},
                     {"diverged", step.diverged}});
  }
  nlohmann::ordered_json json{{"from", report.from},
                              {"from_step", report.from_step},
                              {"same", report.same()},
                              {"steps", steps},
                              {"state_digest", report.state_digest}};
  if (!report.recorded_state_digest.empty()) {
    json["recorded_state_digest"] = report.recorded_state_digest;
  }
  if (report.micro_batch_loss) json["micro_batch_loss"] = *report.micro_batch_loss;
  json["samples"] = report.samples;
  return json.dump(2) + "\n";
}

}  // namespace lockstep::trainer
