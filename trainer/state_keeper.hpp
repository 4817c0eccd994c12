#pragma once
// Saves and restores the state of a run with all its ranks: each writes its own extents, one
// commits. Used by Trainer. One rank, one thread; everything is collective over the world.

#include <cstdint>
#include <functional>
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

  /// Writes a checkpoint and returns its digest when it is durable. Rank 0 calls `before_commit`
  /// with the digest when all bytes are written and the checkpoint does not exist yet. When any
  /// rank fails, all throw the same error and the checkpoints that exist stay as they are.
  /// Collective.
  std::string save(const checkpoints::CheckpointInfo& info,
                   const std::function<void(const std::string& digest)>& before_commit);

  /// Keeps the newest `keep` checkpoints and that of `best_step`. Local, one rank.
  void retain(std::int64_t keep, std::int64_t best_step);

  /// Reads the checkpoint at `path` into the state, every byte checked against its digest.
  /// Throws CheckpointError on all ranks. Collective.
  checkpoints::CheckpointInfo load(const std::string& path);

 private:
  StateFiles files_at(std::int64_t steps_done);
  /// SHA-256 of every extent, in hexadecimal, from those that each rank computed.
  std::vector<std::string> gather(const std::vector<checkpoints::ExtentDigest>& mine,
                                  std::size_t extents);

  RankGroup group_;
  TrainStep& train_step_;
  checkpoints::CheckpointStore store_;
};

}  // namespace lockstep::trainer
