#pragma once
// Saves the state of a run with all its ranks while training goes on: a state machine that the
// ranks advance together between steps, and a thread on each rank that writes. The threads speak
// to nobody: what they are at travels with the steps (RankSignals). Used by Checkpointing.
// One object a rank, one thread; "collective" means all ranks, after the same step.
//
//   begin      from here on each rank copies its share of the state, piece by piece just before the
//              next step changes it: the only thing that training waits for. Where the step keeps
//              its last state anyway (KeptState), that is held, and nothing is copied
//   beginning  rank 0's thread makes the files
//   writing    every rank's thread hashes, writes and syncs its share, and leaves its digests
//              beside it
//   collecting rank 0's thread takes them: no rank waits for another one
//   committing rank 0's thread writes the manifest last
//   abandoning rank 0's thread removes what a failed save has left
//
// A failed save leaves the checkpoints that exist as they are.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/file_system.hpp"
#include "checkpoints/checkpoint_store.hpp"
#include "trainer/background_thread.hpp"
#include "trainer/snapshot.hpp"
#include "trainer/state_files.hpp"

namespace lockstep::trainer {

struct SaveRequest {
  checkpoints::CheckpointInfo info;
  checkpoints::Retention retention{};  ///< applied when the checkpoint is durable
};

/// A checkpoint that is durable.
struct SavedCheckpoint {
  std::int64_t step = 0;
  std::string digest;
  std::uint64_t bytes = 0;              ///< of the state
  std::chrono::nanoseconds blocked{0};  ///< what the training thread of rank 0 spent on it, copies
                                        ///< in the step included
  std::chrono::nanoseconds took{0};     ///< from `begin` until it was durable
  std::string retention_problem;        ///< why older ones could not be removed; mostly empty
};

/// What rank 0 is told, on its own thread. On other ranks all are empty.
struct SaveObserver {
  /// The digest is known and the checkpoint does not exist yet. What it returns runs on the
  /// background thread before the checkpoint is committed; when that throws, the save has failed.
  std::function<std::function<void()>(std::int64_t step, const std::string& digest)> digest_known;
  std::function<void(const SavedCheckpoint& saved)> saved;
  std::function<void(std::int64_t step, const std::string& reason)> failed;
};

struct CheckpointSaverOptions {
  base::FileSystem& files;
  std::string directory;  ///< of the run's checkpoints
  const base::Clock& clock;
  base::FaultPlan faults{};  ///< kDiskFull in base::Phase::kSave makes the writing fail
  enum class Copies { kKept, kNone } copies = Copies::kKept;  ///< kNone: `begin` is not called
  SaveObserver observer{};
};

class CheckpointSaver {
 public:
  /// The arguments must outlive the saver. Throws EnvironmentError when there is no memory for the
  /// copy. Local.
  CheckpointSaver(CheckpointSaverOptions options, RankGroup group, TrainStep& train_step);
  ~CheckpointSaver();
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  /// Of this rank's thread, to be told to the others with the next step.
  JobState job() const { return thread_->state(); }
  bool busy() const { return phase_ != Phase::kIdle; }
  /// The step that is being saved; of the last one when there is none.
  std::int64_t step() const;

  /// Starts a save of the state as it is. Steps may change it at once; for other changes call
  /// `complete_copy` first. Only when not busy. Collective.
  void begin(SaveRequest request);
  /// Goes on when all jobs have ended: `all` are those of all ranks as they entered the last step.
  /// Collective.
  void advance(JobState all);
  /// Waits until the save under way has ended, well or not. Throws TimeoutError when it does not
  /// within the deadline of the communicator. Collective.
  void finish();
  /// Ends the save under way, then saves the state as it is and returns its digest when it is
  /// durable. Throws the first rank's error on all ranks when that fails. Collective.
  std::string save_and_wait(SaveRequest request);
  /// Copies what no step has changed yet of the state that is being saved. Local.
  void complete_copy();
  /// Rank 0: waits while the commit of a save runs. For whoever writes a file that it writes too.
  void let_commit_end();

 private:
  enum class Phase { kIdle, kBeginning, kWriting, kCollecting, kCommitting, kAbandoning };
  struct Save;

  void start(SaveRequest request, StateFiles state, std::vector<checkpoints::OwnedExtent> copied);
  /// What this rank writes, and where it lies. Frozen files that an older checkpoint has are not.
  std::vector<checkpoints::OwnedExtent> owned_bytes() const;
  void start_job(BackgroundThread::Job job);
  void start_on_first_rank(std::function<void()> job);
  void write();
  void collect();
  void commit();
  void give_up(const base::Error& reason);
  /// What the jobs of all ranks threw, the lowest such rank's. Collective.
  std::optional<base::Error> failure_of_all();

  CheckpointSaverOptions options_;
  RankGroup group_;
  TrainStep& train_step_;
  checkpoints::CheckpointStore store_;  // jobs use it, one at a time
  Phase phase_ = Phase::kIdle;
  std::optional<Snapshot> snapshot_;
  std::unique_ptr<Save> save_;  // the last one, once there was one
  std::optional<base::Error> last_failure_;
  // Rank 0's, left by the job that commits: a checkpoint with frozen files, and their digests.
  std::string last_saved_;
  std::vector<checkpoints::ExtentDigest> frozen_;
  bool waited_for_ = false;  // this save, from its begin on: what it throws is thrown
  bool waits_ = false;       // nothing else is to be done on this thread: jobs run on it
  std::optional<BackgroundThread> thread_;  // last: its jobs use the others
};

}  // namespace lockstep::trainer
