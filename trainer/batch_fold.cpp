#include "trainer/batch_fold.hpp"

#include <bit>
#include <cstring>
#include <string>

#include "base/error.hpp"

namespace lockstep::trainer {

BatchFold::BatchFold(std::size_t width, const data::EvaluationPlan& plan, comm::Communicator& world,
                     Combine combine)
    : width_(width),
      plan_(plan),
      world_(world),
      combine_(std::move(combine)),
      subtrees_(subtrees_of(world.rank())) {}

std::vector<comm::LeafRange> BatchFold::subtrees_of(int rank) const {
  const auto batches = plan_.batches_of(rank, world_.size());
  if (batches.size() == 0) return {};
  return comm::maximal_subtrees({batches.begin, batches.end}, plan_.batches());
}

void BatchFold::add(std::vector<double> row) {
  LOCKSTEP_EXPECT(row.size() == width_ && subtree_ < subtrees_.size(), "a row of no batch");
  unfinished_.push_back(std::move(row));
  // A binary counter: after leaf j as many neighbours are complete as j has trailing ones.
  const auto leaf = static_cast<std::uint64_t>(in_subtree_++);
  for (int merges = std::countr_one(leaf); merges > 0; --merges) merge();
  if (in_subtree_ < subtrees_[subtree_].size()) return;
  while (unfinished_.size() > 1) merge();
  finished_.push_back(std::move(unfinished_.back()));
  unfinished_.clear();
  in_subtree_ = 0;
  ++subtree_;
}

void BatchFold::merge() {
  combine_(unfinished_[unfinished_.size() - 2], unfinished_.back());
  unfinished_.pop_back();
}

std::vector<double> BatchFold::finish(std::string_view what) {
  LOCKSTEP_EXPECT(subtree_ == subtrees_.size(), "rows of batches are missing");
  const auto row_bytes = width_ * sizeof(double);
  std::string mine;
  for (const auto& row : finished_) {
    mine.append(reinterpret_cast<const char*>(row.data()), row_bytes);
  }
  std::vector<comm::LeafRange> nodes;
  std::vector<std::vector<double>> rows;
  const auto texts = world_.all_gather_texts(mine, what);
  for (int rank = 0; rank < world_.size(); ++rank) {
    const char* place = texts[static_cast<std::size_t>(rank)].data();
    for (const auto& node : subtrees_of(rank)) {
      nodes.push_back(node);
      std::memcpy(rows.emplace_back(width_).data(), place, row_bytes);
      place += row_bytes;
    }
  }
  if (nodes.empty()) return std::vector<double>(width_);
  for (const auto& step : comm::fold_program(nodes, plan_.batches())) {
    if (step.kind == comm::FoldStep::Kind::kLoad) {
      unfinished_.push_back(std::move(rows[static_cast<std::size_t>(step.operand)]));
    } else {
      merge();
    }
  }
  return std::move(unfinished_.front());
}

void add_rows(std::span<double> left, std::span<const double> right) {
  for (std::size_t i = 0; i < left.size(); ++i) left[i] += right[i];
}

}  // namespace lockstep::trainer
