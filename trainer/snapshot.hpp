#pragma once
// A copy of this rank's share of the state, in memory that is used again for each save: what the
// background thread writes while training changes the original. Each piece is copied just before it
// is changed, while the step that changes it has it in the cache anyway. Used by CheckpointSaver.
// Belongs to the training thread but for `prepare`, which may run on another one at the same time.

#include <cstddef>
#include <span>
#include <vector>

#include "checkpoints/checkpoint_store.hpp"
#include "trainer/state_files.hpp"

namespace lockstep::trainer {

class Snapshot {
 public:
  /// Room for copies of `owned`. Throws EnvironmentError when memory cannot be had.
  explicit Snapshot(std::span<const LocalExtent> owned);
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  /// Has the kernel give the pages now, so that the first copy need not wait for them.
  void prepare() const;

  /// Begins a snapshot of `owned` as it is now; it must fit, and stay where it is. Returns where
  /// the copies will be: they are whole after `complete`, and valid until the next call. They lie
  /// in their pages as the bytes will in those of their files, and can be written from there
  /// directly.
  std::vector<checkpoints::OwnedExtent> begin(std::span<const LocalExtent> owned);
  /// To be called before `piece` changes, from the beginning of `owned` on. What is no part of the
  /// snapshot or has been copied is left alone; what lies before it is copied too.
  void keep(std::span<const std::byte> piece);
  /// Copies what was not.
  void complete();

 private:
  /// Memory that lies together, there and in the copy.
  struct Region {
    const std::byte* source;
    std::size_t begin;  // of the copy
    std::size_t length;
    std::size_t copied;
  };
  void copy_until(Region& region, std::size_t end);
  /// Makes the regions; where each copy begins, and at last where all end.
  std::vector<std::size_t> lay_out(std::span<const LocalExtent> owned);

  std::span<std::byte> memory_;
  std::vector<Region> regions_;
};

}  // namespace lockstep::trainer
