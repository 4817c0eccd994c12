#pragma once
// The run: step after step, evaluation, checkpoints, and an orderly stop. Used by the worker main.
// One rank, one thread; everything is collective.

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/file_system.hpp"
#include "base/position.hpp"
#include "base/stop_signal.hpp"
#include "checkpoints/run_directory.hpp"
#include "configs/run_config.hpp"
#include "trainer/assembly.hpp"
#include "trainer/checkpointing.hpp"
#include "trainer/divergence.hpp"
#include "trainer/run_metadata.hpp"
#include "trainer/run_recorder.hpp"
#include "trainer/state_keeper.hpp"
#include "trainer/step_profiler.hpp"

namespace lockstep::trainer {

/// Numbers for the progress line.
struct TrainingProgress {
  std::int64_t step = 0, total_steps = 0;
  std::int64_t epoch = 0, epochs = 0;  ///< epoch from 1; epochs 0 = the run counts steps
  double loss = 0;
  double samples_per_second = 0;
  std::chrono::nanoseconds remaining{0};
};

struct TrainerOptions {
  const configs::RunConfig& config;
  std::string config_hash;
  std::string cache_directory{};  ///< see assemble
  TrialLimits limits;
  checkpoints::RunDirectory run;
  /// Checkpoint to go on from; the newest good one when `resume` is set and this is empty.
  std::string from_checkpoint;
  bool resume = false;
  /// Only write the state that memory kept as a checkpoint, where it is newer than the newest one:
  /// for a run that is not started again. With `resume`.
  bool save_only = false;
  /// Throw DivergenceError at the first operation whose gradient is not a number. Slow.
  bool anomaly = false;
  std::optional<ProfileOptions> profile{};  ///< of this rank
  base::FileSystem& files;
  const base::Clock& clock;
  const base::StopSignal& stop;
  /// The memory file of this node that outlives the ranks: on all nodes or on none.
  Place place{};
  base::FaultPlan faults{};                               ///< of this rank and attempt, for drills
  std::function<void(const TrainingProgress&)> progress;  ///< called by rank 0 after each step
  std::function<void(const std::string&)> warn;           ///< called by rank 0
};

struct TrainingOutcome {
  base::ExitCode code = base::ExitCode::kDone;  ///< kDone or kStopped
  std::int64_t step = 0;
  std::string state_digest{};
  std::map<std::string, double> metrics{};
};

class Trainer {
 public:
  /// Opens data, builds the model, restores a checkpoint when asked. `position` is kept up to date
  /// for whoever watches the rank or reports its error. Collective.
  Trainer(TrainerOptions options, RankGroup group, base::Position& position);

  /// Trains to the end, or to the first request to stop, which is answered after the step in hand
  /// with a checkpoint and kStopped. Throws DivergenceError on all ranks when loss or gradients are
  /// no longer finite; Error with kInterrupted or kTerminated on a second request. Collective.
  TrainingOutcome run();

 private:
  /// Notes where this rank is now, and lets a drill's fault strike there.
  void enter(base::Phase phase);
  /// Says what the state comes from: `start`, `memory` or the checkpoint's path.
  std::string restore();
  bool restore_from_memory();
  /// Where the run is computed, with the say over what memory holds there.
  Place place();
  std::optional<std::int64_t> missing_for_rollback(std::int64_t step,
                                                   std::int64_t steps_per_epoch) const;
  /// Whether memory kept a state that is newer than the newest checkpoint. Collective.
  bool memory_is_ahead() const;
  std::int64_t steps_in_ledger() const;
  std::string restore_from_checkpoint();
  void take_metadata(const std::string& text);
  void open_record(const std::string& from, std::chrono::nanoseconds loading);
  /// What a crash may have cut off after the step that memory kept: evaluation, ledger, save.
  void catch_up();
  StepNote train_one(std::int64_t step, class StepBatches& batches);
  StepNote note_of(std::int64_t step) const;
  /// Evaluation, ledger and save after the step in `note`, where they are due. Says whether it did
  /// more than a line in the ledger.
  bool conclude(const StepNote& note);
  MicroBatch poisoned(MicroBatch batch, std::int64_t step) const;
  /// Throws DivergenceError, or drops the update, or goes back, as train.divergence says.
  /// Collective.
  void face_divergence(StepNote& note);
  struct BackTo {
    std::int64_t step = 0;
    std::string path;
  };
  /// Takes back what the step in `note` did. Collective.
  void undo(const StepNote& note, Divergence::Action action, const BackTo& back);
  /// The checkpoint that a run goes back to from the step in `note`; no path when there is none.
  /// Collective.
  BackTo checkpoint_before(const StepNote& note) const;
  void recall_divergence();
  bool evaluation_due(std::int64_t step) const;
  /// False when a request to stop cut it short on some rank: it is made up for after the resume.
  bool evaluate_now(std::int64_t step);
  BestMetric metric_of_best() const;
  /// Throws ConfigError when evaluations have no such metric. Local.
  void require_best_metric() const;
  /// Saves in the background, or, when the run ends with this step, until it is durable.
  void save(const StepNote& note, bool ends);
  void report(const StepNote& note, std::chrono::nanoseconds since_start, std::int64_t steps_here);
  /// Compares the ranks' times and notes it in the run's record. Collective.
  void note_anatomy();
  bool metrics_due(std::int64_t step) const;
  double epochs_at(std::int64_t step) const;

  TrainerOptions options_;
  RankGroup group_;
  base::Position& position_;
  Divergence divergence_;
  Assembly made_;
  RunMetadata known_;
  std::unique_ptr<StateKeeper> keeper_;
  std::unique_ptr<RunRecorder> recorder_;         // on rank 0 only
  std::unique_ptr<Checkpointing> checkpointing_;  // none in the debug modes
  std::int64_t steps_done_ = 0;
  bool stopped_ = false;  // on request, agreed by all ranks
  bool judged_ = false;   // the step that memory kept was looked at by former ranks
  std::string digest_;
  StepTotals totals_;
  std::optional<StepProfiler> profiler_;
};

}  // namespace lockstep::trainer
