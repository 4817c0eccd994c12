#pragma once
// Sums gradients over all micro-batches by the one tree: every rank folds the subtrees that lie in
// its own range of micro-batches into partial buffers in its node's shared memory; then each rank
// sums its slice of all ranks' partials where they lie. Between nodes each slice's partials go to
// the slice's owner, so the wire carries what an ordinary reduce-scatter would.
// Used by TrainStep. Belongs to one rank and one thread.

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/node_memory.hpp"
#include "comm/node_relay.hpp"
#include "comm/reduction_tree.hpp"
#include "comm/topology.hpp"

namespace lockstep::comm {

struct GradientExchangeOptions {
  std::int64_t floats = 0;                ///< length of the flat gradient
  std::int64_t leaves = 0;                ///< of the tree: micro-batches, or ranks in fast mode
  std::vector<LeafRange> leaves_of_rank;  ///< contiguous, in rank order, none empty
  std::vector<LeafRange> slice_of_rank;   ///< floats that a rank sums, contiguous in rank order
};

class GradientExchange {
 public:
  /// The communicators and `topology` must outlive the exchange. `node` holds the ranks of this
  /// rank's node. Throws EnvironmentError when shared memory has too little room. Collective.
  GradientExchange(Communicator& world, Communicator& node, const Topology& topology,
                   GradientExchangeOptions options);

  /// Tree nodes that this rank folds alone, left to right.
  const std::vector<LeafRange>& subtrees() const { return own_.subtrees; }
  /// Where the folded gradient of subtrees()[i] goes: [floats] f32. Written before exchange.
  float* partial(std::size_t i) { return own_.partials[i]; }

  /// Makes all ranks' partials available. Afterwards `fold` may be called, until any rank calls
  /// `finish`. Collective.
  void exchange();

  /// out[0 .. end - begin) = the total over all leaves of floats [begin, end), which lie in this
  /// rank's slice. Local, after exchange.
  void fold(std::int64_t begin, std::int64_t end, float* out);

  /// All ranks have folded; partials may be overwritten and whatever was written into node memory
  /// meanwhile is visible on the node. Collective over the node.
  void finish();

  NodeBarrier& barrier() { return memory_->barrier(); }

 private:
  struct RankPartials {
    std::vector<LeafRange> subtrees;
    std::vector<float*> partials;  // this node's ranks only
  };
  /// Partials of one other node for this rank's slice.
  struct Inbox {
    int sender = 0;
    std::vector<float> values;  // [node partials][slice]
  };

  /// How this node's partials fold to one of its maximal subtrees.
  struct NodeFold {
    std::vector<const float*> partials;
    std::vector<FoldStep> program;
  };

  NodeFold fold_to(LeafRange subtree) const;
  void fold_for_other_nodes();

  Communicator& world_;
  Communicator& node_;
  const Topology& topology_;
  NodeRelay relay_;
  GradientExchangeOptions options_;
  std::unique_ptr<NodeMemory> memory_;
  RankPartials own_;
  std::vector<const float*> local_partials_;  // of all ranks of this node, in order
  std::vector<LeafRange> local_subtrees_;     // parallel to local_partials_
  std::vector<Inbox> inboxes_;                // one a node, empty for this one
  std::vector<std::vector<float>> outboxes_;
  std::vector<FoldStep> program_;  // over load_ in order
  struct Load {
    const float* values;  // value of float i of the flat gradient is values[i - first]
    std::int64_t first;
  };
  std::vector<Load> loads_;
  std::vector<NodeFold> node_folds_;       // empty when there is one node
  std::vector<const float*> fold_inputs_;  // scratch of one fold
};

}  // namespace lockstep::comm
