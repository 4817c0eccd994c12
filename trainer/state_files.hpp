#pragma once
// How the state of a run lies in checkpoint files: which tensors, which fixed extents, and which
// rank writes, hashes and reads which extent. The cut depends on the model alone, so any rank
// count writes the same bytes and reads them back. Used by StateKeeper. One rank, one thread.

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoints/checkpoint_store.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::trainer {

inline constexpr char kModelFile[] = "model.safetensors";
inline constexpr char kFrozenFile[] = "frozen.safetensors";
inline constexpr char kOptimizerFile[] = "optimizer.safetensors";

/// A piece of the model's files and the memory of this rank that holds it.
struct ModelExtent {
  int file = 0;
  std::uint64_t offset = 0;
  std::span<std::byte> memory;
  bool each_rank = false;  ///< every rank has its own copy; otherwise there is one a node
};

/// The model's files: parameters and buffers in `blocks`, and integer buffers; then, where there
/// are any, frozen parameters in a file of their own. `memory`: what the files are of, on the host.
struct ModelFiles {
  std::vector<checkpoints::StateFile> files;
  std::vector<ModelExtent> extents;  ///< one a block, then the others, in the files' order
};
ModelFiles model_files(ParameterSpace& space, StateMemory memory,
                       const std::vector<FlatRange>& blocks);

/// An extent and the memory of this rank that holds it.
struct LocalExtent {
  int extent = 0;
  std::span<std::byte> memory;
  bool each_rank = false;  ///< every rank has its own copy, which a step changes when it likes
  bool frozen = false;     ///< no step changes it
  std::uint64_t file_offset = 0;  ///< where it lies in its file
};

class StateFiles {
 public:
  /// `steps_done` optimizer steps lie behind the state; it is part of the optimizer file.
  StateFiles(TrainStep& train_step, std::int64_t steps_done, const comm::Topology& topology);

  const std::vector<checkpoints::StateFile>& files() const { return files_; }
  const std::vector<checkpoints::StateExtent>& extents() const { return extents_; }
  std::uint64_t bytes() const;         ///< of all extents
  std::uint64_t frozen_bytes() const;  ///< of those in frozen files
  /// What this rank writes and hashes: over all ranks, each extent once.
  const std::vector<LocalExtent>& owned() const { return owned_; }
  /// What this rank reads back: over the ranks of a node, all that the node holds.
  const std::vector<LocalExtent>& loaded() const { return loaded_; }

 private:
  enum class Loads { kShared, kOwn, kEveryRank };
  void add(int file, std::uint64_t offset, std::span<std::byte> memory, bool owned, Loads loads);

  int local_rank_;
  int local_size_;
  std::vector<checkpoints::StateFile> files_;
  std::vector<std::uint64_t> data_begins_;  // parallel to files_
  std::vector<checkpoints::StateExtent> extents_;
  std::vector<LocalExtent> owned_;
  std::vector<LocalExtent> loaded_;
};

}  // namespace lockstep::trainer
