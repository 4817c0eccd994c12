#pragma once
// The state of the last finished step in memory that outlives the ranks, so that a crash costs no
// finished step. Updates are made in place; before a part of a block changes, its old values go to
// an undo area, and stamps tell afterwards which blocks are of which step. What a crash left is
// brought to one step by putting the undo area back, and checked by sums. After write-ahead undo
// logging (Gray and Reuter 1992, chapter 10), with the block as the page.
// Used by TrainStep. A block belongs to one rank; one thread a rank. Layout: private to one run.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/parameter_layout.hpp"

namespace lockstep::trainer {

struct KeptShape {
  std::vector<FlatRange> blocks;     ///< of the flat region, see cut_blocks
  FlatRange held_blocks;             ///< indices of the blocks whose undo this node keeps
  std::int64_t parameter_count = 0;  ///< blocks from here on have no optimizer state
  std::size_t states = 0;            ///< optimizer state buffers
  std::int64_t counter_count = 0;
  bool holds = false;    ///< room for a state that later updates leave alone, see `hold`
  std::string identity;  ///< equal texts = a state that can be gone on from
};

/// The values themselves: element 0 of the flat region and of each optimizer state.
struct LiveState {
  float* flat = nullptr;
  std::vector<float*> states;
};

class KeptState {
 public:
  static std::size_t bytes_needed(const KeptShape& shape);
  /// `memory`: bytes_needed, page aligned, zeroed or as a former run of this shape left it.
  KeptState(KeptShape shape, LiveState live, std::span<std::byte> memory);

  /// Whether `memory` holds a state of this shape that a crash can have left at any moment.
  bool holds_state() const;
  /// Nothing can be gone on from until the next `start`. One rank a node.
  void invalidate();
  /// `block` now holds the state after `step` steps. Its rank.
  void stamp(std::int64_t block, std::int64_t step);
  /// All blocks are stamped: from now on holds_state. One rank a node.
  void start(std::int64_t step, std::span<const std::int64_t> counters, std::string_view metadata);

  // An update of `block` from `step` to `step` + 1: open, then for each part, in order, save
  // before it changes and add after it has, then close. Its rank.
  void open(std::int64_t block, std::int64_t step);
  void save(FlatRange part);
  void add(FlatRange part);
  void close(std::int64_t block, std::int64_t step);

  // The undo area that an update fills is a copy of the state before it. With two of them in turn,
  // it can stay while updates go on: a checkpoint is written from it, and copies nothing. Needs
  // KeptShape::holds.
  /// The values of now are to be held until the next call. Between updates. Its rank.
  void hold();
  /// All of `blocks`, the rank's own, were updated: what was to be held is.
  void end_update();
  /// Holds what is to be held without an update of `blocks`, the rank's own.
  void end_hold(FlatRange blocks);
  /// Where the held values of `live`, a piece of the rank's own blocks, are; nothing when it is
  /// memory of another kind. They lie in their pages as they do in the files of a checkpoint.
  std::optional<std::span<const std::byte>> held(std::span<const std::byte> live) const;
  /// Has the kernel give the pages that `blocks` will be held in. Any thread.
  void prepare_hold(FlatRange blocks) const;

  /// Counters after `step` steps; before any block of that step is closed. One rank a node.
  void keep_counters(std::int64_t step, std::span<const std::int64_t> counters);
  /// What else the run knows after `step` steps, at most 64 KiB. One rank a node.
  void keep_metadata(std::int64_t step, std::string_view metadata);

  /// The steps that are finished in some and in all of `blocks`; nothing to say about none.
  struct Finished {
    std::int64_t least = 0;
    std::int64_t most = 0;
  };
  std::optional<Finished> finished(FlatRange blocks) const;
  /// Brings `block` to `step`, one step back at most. False when that is not there or its sum is
  /// not what it was. Its rank.
  bool bring_to(std::int64_t block, std::int64_t step);
  /// Counters after `step` steps; nothing when they are not there.
  std::optional<std::vector<std::int64_t>> counters(std::int64_t step) const;
  /// The newest metadata of `step` or before.
  std::string metadata(std::int64_t step) const;

 private:
  struct Header;
  struct Stamp;
  struct Slot;
  struct Places;
  static Places places(const KeptShape& shape);
  Slot& counter_slot(std::int64_t step) const;
  std::uint64_t sum_of(FlatRange part) const;
  /// Copies the live values of `part` to an undo area, or back.
  enum class Way { kToUndo, kToLive };
  void copy(FlatRange part, Way way, std::size_t area);
  /// Calls `each(live, undo, end)` for the flat region and each optimizer state: element 0 there
  /// and in an undo area, and the element behind the last.
  template <typename Each>
  void for_each_buffer(std::size_t area, const Each& each) const;

  KeptShape shape_;
  LiveState live_;
  std::byte* memory_;
  Stamp* stamps_;  // one a block
  std::array<Slot*, 2> counters_, metadata_;
  std::array<LiveState, 2> undo_;  // each address is of element 0; the second one may be empty
  FlatRange undone_;               // elements that the undo areas have room for
  std::size_t area_ = 0;           // that updates save to
  bool to_hold_ = false;
  bool past_cache_;  // the undo area is too large to be there when it is written again
  std::int64_t open_block_ = -1;
  std::uint64_t open_sum_ = 0;
};

}  // namespace lockstep::trainer
