#pragma once
// A copy of this rank's share of the state, in memory that is used again for each save: what the
// background thread writes while training changes the original. Used by CheckpointSaver.
// `take` belongs to the training thread; `prepare` may run on another one at the same time.

#include <cstddef>
#include <span>
#include <vector>

#include "checkpoints/checkpoint_store.hpp"
#include "trainer/state_files.hpp"

namespace lockstep::trainer {

class Snapshot {
 public:
  /// Room for `bytes`. Throws EnvironmentError when memory cannot be had.
  explicit Snapshot(std::size_t bytes);
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  /// Has the kernel give the pages now, so that the first `take` need not wait for them.
  void prepare() const;
  /// Copies `owned`, which must fit. Returns the copies; they are valid until the next call.
  std::vector<checkpoints::OwnedExtent> take(std::span<const LocalExtent> owned);

 private:
  std::span<std::byte> memory_;
};

}  // namespace lockstep::trainer
