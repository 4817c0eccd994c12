#include "comm/gradient_exchange.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "comm/fold.hpp"

namespace lockstep::comm {
namespace {

constexpr std::size_t kAlignFloats = 1024;  // a page: two ranks never write one

std::size_t padded(std::int64_t floats) {
  return (static_cast<std::size_t>(floats) + kAlignFloats - 1) / kAlignFloats * kAlignFloats;
}

LeafRange node_range(const GradientExchangeOptions& options, const Topology& topology, int node) {
  const auto first = topology.first_rank_of_node[static_cast<std::size_t>(node)];
  const auto last = topology.first_rank_of_node[static_cast<std::size_t>(node) + 1] - 1;
  return {options.leaves_of_rank[static_cast<std::size_t>(first)].begin,
          options.leaves_of_rank[static_cast<std::size_t>(last)].end};
}

}  // namespace

GradientExchange::GradientExchange(Communicator& world, Communicator& node,
                                   const Topology& topology, GradientExchangeOptions options)
    : world_(world),
      node_(node),
      topology_(topology),
      relay_(world, topology),
      options_(std::move(options)) {
  LOCKSTEP_EXPECT(options_.leaves_of_rank.size() == static_cast<std::size_t>(world.size()) &&
                      options_.slice_of_rank.size() == static_cast<std::size_t>(world.size()),
                  "the exchange needs a range of leaves and a slice for each rank");
  const auto stride = padded(options_.floats);
  const int first = topology.first_rank_of_node[static_cast<std::size_t>(topology.node)];
  std::vector<std::vector<LeafRange>> subtrees_of_local_rank;
  std::size_t count = 0;
  for (int local = 0; local < topology.local_size; ++local) {
    subtrees_of_local_rank.push_back(maximal_subtrees(
        options_.leaves_of_rank[static_cast<std::size_t>(first + local)], options_.leaves));
    count += subtrees_of_local_rank.back().size();
  }
  memory_ = std::make_unique<NodeMemory>(node, count * stride * sizeof(float), "gradients");
  auto* base = reinterpret_cast<float*>(memory_->bytes().data());
  for (int local = 0; local < topology.local_size; ++local) {
    for (const auto& subtree : subtrees_of_local_rank[static_cast<std::size_t>(local)]) {
      if (local == topology.local_rank) {
        own_.subtrees.push_back(subtree);
        own_.partials.push_back(base);
      }
      local_subtrees_.push_back(subtree);
      local_partials_.push_back(base);
      base += stride;
    }
  }

  const auto slice = options_.slice_of_rank[static_cast<std::size_t>(topology.rank)];
  inboxes_.resize(static_cast<std::size_t>(topology.node_count));
  std::vector<LeafRange> loaded;
  for (int other = 0; other < topology.node_count; ++other) {
    const auto subtrees = maximal_subtrees(node_range(options_, topology, other), options_.leaves);
    if (other == topology.node) {
      if (topology.node_count > 1) {
        for (const auto& subtree : subtrees) node_folds_.push_back(fold_to(subtree));
      }
      for (std::size_t i = 0; i < local_partials_.size(); ++i) {
        loads_.push_back({local_partials_[i], 0});
        loaded.push_back(local_subtrees_[i]);
      }
      continue;
    }
    auto& inbox = inboxes_[static_cast<std::size_t>(other)];
    inbox.sender = relay_.counterpart(topology.rank, other);
    inbox.values.resize(subtrees.size() * static_cast<std::size_t>(slice.size()));
    for (std::size_t i = 0; i < subtrees.size(); ++i) {
      loads_.push_back(
          {inbox.values.data() + i * static_cast<std::size_t>(slice.size()), slice.begin});
      loaded.push_back(subtrees[i]);
    }
  }
  program_ = fold_program(loaded, options_.leaves);
}

GradientExchange::NodeFold GradientExchange::fold_to(LeafRange subtree) const {
  NodeFold fold;
  std::vector<LeafRange> inside;
  for (std::size_t i = 0; i < local_subtrees_.size(); ++i) {
    const auto range = local_subtrees_[i];
    if (range.begin < subtree.begin || range.end > subtree.end) continue;
    // The tree's shape depends on the number of leaves alone, so a subtree is a tree.
    inside.push_back({range.begin - subtree.begin, range.end - subtree.begin});
    fold.partials.push_back(local_partials_[i]);
  }
  fold.program = fold_program(inside, subtree.size());
  return fold;
}

void GradientExchange::exchange() {
  barrier().arrive_and_wait(node_.deadline(), "gradients of all ranks");
  if (topology_.node_count > 1) fold_for_other_nodes();
}

void GradientExchange::fold_for_other_nodes() {
  std::vector<Send> sends;
  std::vector<Receive> receives;
  outboxes_.resize(static_cast<std::size_t>(topology_.world_size));
  for (int owner = 0; owner < topology_.world_size; ++owner) {
    if (topology_.node_of_rank[static_cast<std::size_t>(owner)] == topology_.node) continue;
    if (relay_.counterpart(owner, topology_.node) != topology_.rank) continue;
    const auto slice = options_.slice_of_rank[static_cast<std::size_t>(owner)];
    if (slice.size() == 0) continue;
    auto& outbox = outboxes_[static_cast<std::size_t>(owner)];
    outbox.resize(node_folds_.size() * static_cast<std::size_t>(slice.size()));
    float* out = outbox.data();
    for (const auto& fold : node_folds_) {
      fold_inputs_.clear();
      for (const auto* values : fold.partials) fold_inputs_.push_back(values + slice.begin);
      fold_partials(fold_inputs_, fold.program, out, 0, static_cast<std::size_t>(slice.size()));
      out += slice.size();
    }
    sends.push_back({owner, std::as_bytes(std::span(outbox))});
  }
  for (auto& inbox : inboxes_) {
    if (inbox.values.empty()) continue;
    receives.push_back({inbox.sender, std::as_writable_bytes(std::span(inbox.values))});
  }
  world_.exchange(sends, receives, "gradients between nodes");
}

void GradientExchange::fold(std::int64_t begin, std::int64_t end, float* out) {
  fold_inputs_.clear();
  for (const auto& load : loads_) fold_inputs_.push_back(load.values + (begin - load.first));
  fold_partials(fold_inputs_, program_, out, 0, static_cast<std::size_t>(end - begin));
}

void GradientExchange::finish() {
  barrier().arrive_and_wait(node_.deadline(), "the updated parameters of all ranks");
}

}  // namespace lockstep::comm
