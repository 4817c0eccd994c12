#pragma once
// Reads the state of a run back and takes its digest, with all its ranks. Used by Trainer. One
// rank, one thread; everything is collective over the world.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/file_system.hpp"
#include "checkpoints/checkpoint_store.hpp"
#include "trainer/state_files.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::trainer {

class StateKeeper {
 public:
  /// `directory` holds a run's checkpoints. All arguments must outlive the keeper.
  StateKeeper(RankGroup group, TrainStep& train_step, base::FileSystem& files,
              const std::string& directory);

  /// Digest of all parameters, buffers and optimizer state after `steps_done` steps: equal digests
  /// are equal states, whatever the rank count. Writes nothing. Collective.
  std::string digest(std::int64_t steps_done);

  /// Reads the checkpoint at `path` into the state, every byte checked against its digest.
  /// Throws CheckpointError on all ranks. Collective.
  checkpoints::CheckpointInfo load(const std::string& path);

 private:
  RankGroup group_;
  TrainStep& train_step_;
  checkpoints::CheckpointStore store_;
};

}  // namespace lockstep::trainer
