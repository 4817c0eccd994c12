#include "trainer/run_recorder.hpp"

#include <nlohmann/json.hpp>

#include "base/clock.hpp"

namespace lockstep::trainer {
namespace {

double seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

std::string now() { return base::format_utc(base::Clock::system().wall()); }

}  // namespace

RunRecorder::RunRecorder(base::FileSystem& files, const checkpoints::RunDirectory& run,
                         std::int64_t steps_done, checkpoints::LastLine last_line)
    : files_(files),
      run_(run),
      lock_(run),
      record_(run.read_record()),
      ledger_(files, run.ledger_path(), steps_done, last_line),
      metrics_(files, run.metrics_path()),
      events_(files, run.events_path()) {}

void RunRecorder::write_record() { run_.write_record(record_); }

void RunRecorder::started(int world_size, std::int64_t step, const std::string& from,
                          std::chrono::nanoseconds loading) {
  auto& sizes = record_.world_sizes;
  if (sizes.empty() || sizes.back().world_size != world_size || sizes.back().step > step) {
    std::erase_if(sizes, [&](const auto& change) { return change.step >= step; });
    sizes.push_back({.step = step, .world_size = world_size});
  }
  record_.status = "running";
  record_.exit_code = -1;
  record_.ended.clear();
  write_record();
  nlohmann::json event{{"event", step == 0 ? "start" : "resume"},
                       {"time", now()},
                       {"world_size", world_size},
                       {"from", from},
                       {"step", step}};
  if (step > 0) event["load_seconds"] = seconds(loading);
  events_.append(event);
}

void RunRecorder::step_done(const StepNote& note, const std::string& digest, bool with_metrics) {
  ledger_.append({.step = note.step,
                  .epoch = note.epoch,
                  .samples = note.samples,
                  .loss = note.result.loss,
                  .gradient_norm = note.result.gradient_norm,
                  .lr = note.result.lr,
                  .world_size = note.world_size,
                  .state_digest = digest,
                  .skipped = note.skipped});
  record_.step = note.step;
  record_.epoch = note.epochs_done;
  if (!digest.empty()) record_.state_digest = digest;
  if (!with_metrics || note.wall.count() == 0) return;  // a step of former ranks has no times
  const double wall = seconds(note.wall);
  checkpoints::JsonLine line;
  line.add("type", "step")
      .add("time", now())
      .add("step", note.step)
      .add("epoch", note.epochs_done)
      .add("loss", note.result.loss)
      .add("gradient_norm", note.result.gradient_norm)
      .add("lr", note.result.lr)
      .add("samples_per_second", static_cast<double>(note.samples_count) / wall)
      .add("step_seconds", wall)
      .add("data_seconds", seconds(note.times.data))
      .add("forward_seconds", seconds(note.times.forward))
      .add("backward_seconds", seconds(note.times.backward))
      .add("exchange_seconds", seconds(note.times.exchange))
      .add("optimizer_seconds", seconds(note.times.optimizer));
  if (note.times.hidden.count() > 0) line.add("hidden_seconds", seconds(note.times.hidden));
  if (note.result.loss_scale > 0) line.add("loss_scale", note.result.loss_scale);
  metrics_.append(line);
}

void RunRecorder::diverged(const StepNote& step, const DivergenceNote& note) {
  nlohmann::ordered_json event{
      {"event", "divergence"},    {"time", now()},
      {"step", note.step},        {"reason", note.reason},
      {"loss", step.result.loss}, {"gradient_norm", step.result.gradient_norm},
      {"action", note.action},    {"samples", note.samples}};
  if (note.back_to >= 0) event["back_to"] = note.back_to;
  events_.append(event);
}

void RunRecorder::evaluated(std::int64_t step, double epochs_done,
                            const std::map<std::string, double>& metrics) {
  nlohmann::json line{
      {"type", "evaluation"}, {"time", now()}, {"step", step}, {"epoch", epochs_done}};
  for (const auto& [name, value] : metrics) line[name] = value;
  metrics_.append(line);
  for (const auto& [name, value] : metrics) record_.metrics[name] = value;
  write_record();
}

std::function<void()> RunRecorder::digest_known(std::int64_t step, const std::string& digest) {
  ledger_.append_digest(step, digest);
  record_.state_digest = digest;
  return [&files = files_, ledger = run_.ledger_path(), path = run_.record_path(),
          text = to_json(record_)] {
    // A descriptor of its own: the ledger's may be written to at the same time, and a file is
    // synced whole.
    files.open(ledger, base::OpenMode::kExisting)->sync();
    files.write_atomically(path, text);
  };
}

void RunRecorder::checkpoint_saved(const SavedCheckpoint& saved,
                                   std::optional<std::chrono::duration<double>> interval) {
  nlohmann::json event{{"event", "checkpoint"},
                       {"time", now()},
                       {"step", saved.step},
                       {"state_digest", saved.digest},
                       {"bytes", saved.bytes},
                       {"blocked_seconds", seconds(saved.blocked)},
                       {"seconds", seconds(saved.took)}};
  if (interval) event["next_after_seconds"] = interval->count();
  events_.append(event);
}

void RunRecorder::checkpoint_failed(std::int64_t step, const std::string& reason) {
  events_.append(
      {{"event", "checkpoint_failed"}, {"time", now()}, {"step", step}, {"message", reason}});
}

}  // namespace lockstep::trainer
