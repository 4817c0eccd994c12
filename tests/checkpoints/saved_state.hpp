#pragma once
// A small state that is saved and read back in tests: two files, four extents, bytes that follow
// from the step. One thread.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/file_system.hpp"
#include "checkpoints/checkpoint_store.hpp"
#include "tests/support/fixed_clock.hpp"

namespace lockstep::tests {

class SavedState {
 public:
  explicit SavedState(std::int64_t step);

  const std::vector<checkpoints::StateFile>& files() const { return files_; }
  const std::vector<checkpoints::StateExtent>& extents() const { return extents_; }
  /// Extent e belongs to rank e modulo `world_size`.
  std::vector<checkpoints::OwnedExtent> owned(int rank, int world_size) const;
  std::vector<std::string> digests() const;
  std::string digest() const;
  const std::vector<std::byte>& bytes(int extent) const {
    return bytes_[static_cast<std::size_t>(extent)];
  }
  const checkpoints::CheckpointInfo& info() const { return info_; }

 private:
  std::vector<checkpoints::StateFile> files_;
  std::vector<checkpoints::StateExtent> extents_;
  std::vector<std::vector<std::byte>> bytes_;
  checkpoints::CheckpointInfo info_;
};

/// Saves `state` through `store`, each rank's extents after the other. When a call throws
/// base::Error, the save is abandoned and the error goes on. Returns the path.
std::string save(checkpoints::CheckpointStore& store, const SavedState& state, int world_size = 1);

/// The state of a checkpoint, every byte compared with what SavedState says; the step.
std::int64_t expect_whole(checkpoints::CheckpointStore& store, const std::string& path);

}  // namespace lockstep::tests
