#include "comm/reduction_tree.hpp"

#include <bit>
#include <string>

#include "base/error.hpp"
#include "base/narrow.hpp"

namespace lockstep::comm {
namespace {

/// Where a node of two or more leaves splits.
std::int64_t middle_of(LeafRange node) {
  const auto size = static_cast<std::uint64_t>(node.size());
  return node.begin + static_cast<std::int64_t>(std::bit_floor(size - 1));
}

void collect_subtrees(LeafRange node, LeafRange range, std::vector<LeafRange>& found) {
  if (range.end <= node.begin || node.end <= range.begin) return;
  if (range.begin <= node.begin && node.end <= range.end) {
    found.push_back(node);
    return;
  }
  const auto middle = middle_of(node);
  collect_subtrees({node.begin, middle}, range, found);
  collect_subtrees({middle, node.end}, range, found);
}

class FoldCompiler {
 public:
  explicit FoldCompiler(std::span<const LeafRange> partials) : partials_(partials) {}

  std::vector<FoldStep> compile(std::int64_t leaves) {
    emit({0, leaves});
    LOCKSTEP_EXPECT(next_ == partials_.size(), "more partials than the tree has leaves for");
    return std::move(program_);
  }

 private:
  void emit(LeafRange node) {
    LOCKSTEP_EXPECT(next_ < partials_.size(),
                    "partials end before leaf " + std::to_string(node.begin));
    if (partials_[next_] == node) {
      program_.push_back({FoldStep::Kind::kLoad, base::narrow<int>(next_++)});
      return;
    }
    LOCKSTEP_EXPECT(node.size() > 1 && partials_[next_].begin == node.begin,
                    "partial " + std::to_string(next_) + " is not the tree node it should be");
    const auto middle = middle_of(node);
    emit({node.begin, middle});
    emit({middle, node.end});
    program_.push_back({FoldStep::Kind::kAdd, 0});
  }

  std::span<const LeafRange> partials_;
  std::size_t next_ = 0;
  std::vector<FoldStep> program_;
};

template <class Value>
Value sum_node(std::span<const Value> leaves) {
  if (leaves.size() == 1) return leaves[0];
  const auto left = std::bit_floor(leaves.size() - 1);
  return sum_node(leaves.first(left)) + sum_node(leaves.subspan(left));
}

}  // namespace

std::vector<LeafRange> maximal_subtrees(LeafRange range, std::int64_t leaves) {
  LOCKSTEP_EXPECT(0 <= range.begin && range.begin <= range.end && range.end <= leaves,
                  "range of leaves lies outside the tree");
  std::vector<LeafRange> found;
  if (range.begin < range.end) collect_subtrees({0, leaves}, range, found);
  return found;
}

std::vector<FoldStep> fold_program(std::span<const LeafRange> partials, std::int64_t leaves) {
  LOCKSTEP_EXPECT(leaves >= 1, "a tree has at least one leaf");
  return FoldCompiler(partials).compile(leaves);
}

double tree_sum(std::span<const double> leaves) { return leaves.empty() ? 0 : sum_node(leaves); }
float tree_sum(std::span<const float> leaves) { return leaves.empty() ? 0 : sum_node(leaves); }

}  // namespace lockstep::comm
