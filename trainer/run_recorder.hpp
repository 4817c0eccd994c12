#pragma once
// Everything that one rank writes about a run while it trains: ledger, metrics, events and
// run.json. One thread; nothing here is collective.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/file_system.hpp"
#include "checkpoints/json_lines.hpp"
#include "checkpoints/ledger.hpp"
#include "checkpoints/run_directory.hpp"
#include "trainer/checkpoint_saver.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::trainer {

/// One finished step, as it is noted.
struct StepNote {
  std::int64_t step = 0;   ///< finished steps, from 1
  std::int64_t epoch = 0;  ///< of its samples, from 0
  double epochs_done = 0;  ///< step / steps an epoch
  std::string samples;     ///< digest of which samples it used
  StepResult result;
  StepTimes times;
  std::chrono::nanoseconds wall{0};
  std::int64_t samples_count = 0;
  int world_size = 1;
  std::string skipped{};  ///< why its update was dropped; empty = it was made
};

/// A step that diverged and what was done about it.
struct DivergenceNote {
  std::int64_t step = 0;
  std::string reason;
  std::string action;                 ///< `stop`, `skip` or `rollback`
  std::int64_t back_to = -1;          ///< of a rollback: the step of its checkpoint
  std::vector<std::int64_t> samples;  ///< numbers of all samples of the step, in order
};

class RunRecorder {
 public:
  /// Takes the run's lock. `steps_done` > 0 goes on from there (see LedgerWriter).
  RunRecorder(base::FileSystem& files, const checkpoints::RunDirectory& run,
              std::int64_t steps_done, checkpoints::LastLine last_line);

  checkpoints::RunRecord& record() { return record_; }
  void write_record();

  /// Ledger and metrics line of a step. `digest` may be empty.
  void step_done(const StepNote& note, const std::string& digest, bool with_metrics);
  void diverged(const StepNote& step, const DivergenceNote& note);
  void evaluated(std::int64_t step, double epochs_done,
                 const std::map<std::string, double>& metrics);
  /// Notes the digest of the state after `step`, whose line is there. Returns what makes the ledger
  /// and run.json durable as they are now, for any thread, once.
  std::function<void()> digest_known(std::int64_t step, const std::string& digest);
  /// `interval`: that of checkpoint.every auto, from this save on.
  void checkpoint_saved(const SavedCheckpoint& saved,
                        std::optional<std::chrono::duration<double>> interval);
  void checkpoint_failed(std::int64_t step, const std::string& reason);
  /// The step of the ledger's newest line.
  std::int64_t last_step() const { return ledger_.last_step(); }
  /// `from`: what the state comes from, `start`, `memory` or a checkpoint's path; `loading`: how
  /// long the state of `step` took to read.
  void started(int world_size, std::int64_t step, const std::string& from,
               std::chrono::nanoseconds loading);
  /// The ledger's lines are on stable storage on return.
  void sync_ledger() { ledger_.sync(); }

 private:
  base::FileSystem& files_;
  checkpoints::RunDirectory run_;
  checkpoints::RunLock lock_;
  checkpoints::RunRecord record_;
  checkpoints::LedgerWriter ledger_;
  checkpoints::JsonLines metrics_;
  checkpoints::JsonLines events_;
};

}  // namespace lockstep::trainer
