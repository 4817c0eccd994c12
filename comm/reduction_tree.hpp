#pragma once
// The one tree by which everything that is summed over micro-batches (or ranks) is summed, so that
// the bits never depend on who computed which part. A node [lo, hi) with more than one leaf splits
// at lo + the largest power of two smaller than hi - lo (the shape of RFC 6962, section 2.1).
// Used by the trainer's reducer and by all_reduce. Pure functions, any thread.

#include <cstdint>
#include <span>
#include <vector>

namespace lockstep::comm {

/// Leaves [begin, end).
struct LeafRange {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t size() const { return end - begin; }
  friend bool operator==(const LeafRange&, const LeafRange&) = default;
};

/// The largest nodes of the tree over `leaves` leaves that lie inside `range`, left to right. What
/// a rank that owns `range` can fold alone. Throws InternalError when `range` is not inside.
std::vector<LeafRange> maximal_subtrees(LeafRange range, std::int64_t leaves);

/// One step of a stack machine.
struct FoldStep {
  enum class Kind {
    kLoad,  ///< push partial number `operand`
    kAdd,   ///< replace the two top entries by (lower + upper); `operand` is 0
  };
  Kind kind;
  int operand;
  friend bool operator==(const FoldStep&, const FoldStep&) = default;
};

/// How to sum `partials`, each the folded sum of one tree node, by the tree over `leaves` leaves:
/// the same additions in the same order as folding all leaves. Throws InternalError when the
/// partials do not tile [0, leaves) by tree nodes, left to right.
std::vector<FoldStep> fold_program(std::span<const LeafRange> partials, std::int64_t leaves);

/// The sum of `leaves` by the tree; 0 for none.
double tree_sum(std::span<const double> leaves);
float tree_sum(std::span<const float> leaves);

}  // namespace lockstep::comm
