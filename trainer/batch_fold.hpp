#pragma once
// Folds rows of numbers, one an evaluation batch, by the one tree of comm/reduction_tree.hpp while
// they arrive: a rank keeps a logarithm of its batches' rows, and the result has the same bits at
// any number of ranks. Used by evaluation. One rank, one thread.

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/reduction_tree.hpp"
#include "data/evaluation_plan.hpp"

namespace lockstep::trainer {

class BatchFold {
 public:
  /// Makes `left` what both rows are together; `left` is of the earlier batches.
  using Combine = std::function<void(std::span<double> left, std::span<const double> right)>;

  /// Rows of `width` numbers for the batches of `plan`, which `world` shares out by
  /// EvaluationPlan::batches_of. Both must outlive it. Local.
  BatchFold(std::size_t width, const data::EvaluationPlan& plan, comm::Communicator& world,
            Combine combine);

  /// The row of this rank's next batch. Local.
  void add(std::vector<double> row);
  /// The row of all batches together, all zeros for none. Once; collective.
  std::vector<double> finish(std::string_view what);

 private:
  std::vector<comm::LeafRange> subtrees_of(int rank) const;
  void merge();

  std::size_t width_;
  const data::EvaluationPlan& plan_;
  comm::Communicator& world_;
  Combine combine_;
  std::vector<comm::LeafRange> subtrees_;  // of this rank
  std::size_t subtree_ = 0;
  std::int64_t in_subtree_ = 0;                  // rows of it that are there
  std::vector<std::vector<double>> finished_;    // one a subtree
  std::vector<std::vector<double>> unfinished_;  // complete nodes inside the subtree at hand
};

/// Adds number by number: the usual way to combine.
void add_rows(std::span<double> left, std::span<const double> right);

}  // namespace lockstep::trainer
