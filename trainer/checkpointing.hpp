#pragma once
// The checkpoints of a run: when they are due, how they are saved, what is noted of them and which
// stay. Used by Trainer. One object a rank, one thread; all but `signals` is collective.

#include <functional>
#include <string>

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/file_system.hpp"
#include "configs/run_config.hpp"
#include "trainer/checkpoint_cadence.hpp"
#include "trainer/checkpoint_saver.hpp"
#include "trainer/run_recorder.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::trainer {

struct CheckpointingOptions {
  const configs::RunConfig& config;
  base::FileSystem& files;
  std::string directory;  ///< of the run's checkpoints
  const base::Clock& clock;
  base::FaultPlan faults{};
  std::int64_t steps_per_epoch = 1;
  std::int64_t total_steps = 1;
  RunRecorder* recorder = nullptr;                 ///< on rank 0 only
  std::function<void(const std::string&)> warn{};  ///< called by rank 0
};

class Checkpointing {
 public:
  /// Throws EnvironmentError on all ranks when the disk has no room for one checkpoint and its
  /// successor; warns when it has none for all that are to stay. The arguments must outlive it.
  Checkpointing(CheckpointingOptions options, RankGroup group, TrainStep& train_step);

  /// What this rank tells the others with the next step. Local.
  RankSignals signals(int stop_requests) const;
  /// After every step, before its line is in the ledger: lets the save under way go on. A save that
  /// fails is noted and warned of, and the next one is tried all the same.
  void step_done(const StepNote& note);

  /// Whether to save after the step in `note`. A save by steps or epochs is wanted now, whatever is
  /// under way: which checkpoints there are follows from the configuration, and a rollback from
  /// them. So is that of an `evaluated` step, as its checkpoint may be the best. One by time that
  /// falls due while another one is under way waits, and then takes the state as it is then.
  bool wanted(const StepNote& note, bool evaluated);
  /// Saves in the background, after the save under way. `best_step`: negative = none.
  void save(checkpoints::CheckpointInfo info, std::int64_t best_step);
  /// Saves and returns the digest when the checkpoint is durable. Throws the first rank's error on
  /// all ranks when it fails.
  std::string save_and_wait(checkpoints::CheckpointInfo info, std::int64_t best_step);
  /// The save under way has ended, well or not, when this returns.
  void finish() { saver_.finish(); }
  /// Rank 0 may write run.json when this has returned.
  void let_commit_end() { saver_.let_commit_end(); }

 private:
  SaveObserver observer();
  SaveRequest request(checkpoints::CheckpointInfo info, std::int64_t best_step) const;
  CadenceInputs cadence_inputs() const;
  void require_room();

  CheckpointingOptions options_;
  RankGroup group_;
  TrainStep& train_step_;
  CheckpointCadence cadence_;
  CheckpointSaver saver_;
  bool pending_ = false;
};

}  // namespace lockstep::trainer
