#include "trainer/autograd_gradients.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <bit>
#include <mutex>

#include "base/philox.hpp"
#include "comm/fold.hpp"

namespace lockstep::trainer {
namespace {

/// Sums that are held at once, besides the first, while these subtrees are folded leaf by leaf:
/// leaf j finds as many finished sums as j has ones, and an odd one joins its neighbour.
std::size_t levels_above_first(const std::vector<comm::LeafRange>& subtrees) {
  int levels = 0;
  for (const auto& subtree : subtrees) {
    for (std::int64_t j = 0; j < subtree.size(); j += 2) {
      levels = std::max(levels, std::popcount(static_cast<std::uint64_t>(j)));
    }
  }
  return static_cast<std::size_t>(levels);
}

}  // namespace

AutogradGradients::AutogradGradients(RankGroup group, ParameterSpace& space, Objective objective,
                                     AutogradOptions options)
    : space_(space),
      objective_(objective),
      options_(std::move(options)),
      generator_(at::detail::createCPUGenerator()) {
  const auto& micro_batches = options_.micro_batches_of_rank;
  range_ = micro_batches[static_cast<std::size_t>(group.topology.rank)];
  const auto floats = space_.layout().flat_count();
  comm::GradientExchangeOptions exchange{.floats = floats,
                                         .leaves = micro_batches.back().end,
                                         .leaves_of_rank = micro_batches,
                                         .slice_of_rank = options_.slice_of_rank};
  if (options_.fold_in_turn) {
    exchange.leaves = group.topology.world_size;
    for (std::int64_t rank = 0; rank < exchange.leaves; ++rank) {
      exchange.leaves_of_rank[static_cast<std::size_t>(rank)] = {rank, rank + 1};
    }
  }
  exchange_ = std::make_unique<comm::GradientExchange>(group.world, group.node, group.topology,
                                                       std::move(exchange));
  fold_buffers_.resize(options_.fold_in_turn ? 0 : levels_above_first(exchange_->subtrees()));
  for (auto& buffer : fold_buffers_) buffer.resize(static_cast<std::size_t>(floats));
}

void AutogradGradients::compute(std::int64_t step, const std::function<MicroBatch()>& next,
                                double* losses, StepTimes& times) {
  if (options_.fold_in_turn) {
    for (auto i = range_.begin; i < range_.end; ++i) {
      run_micro_batch(step, next(), exchange_->partial(0),
                      i == range_.begin ? Contribution::kStore : Contribution::kAdd, losses, times);
    }
    space_.commit_counters();
    return;
  }
  const auto floats = static_cast<std::size_t>(space_.layout().flat_count());
  for (std::size_t s = 0; s < exchange_->subtrees().size(); ++s) {
    // A binary counter: level k of the stack holds the sum of a finished subtree; after leaf j,
    // as many neighbours are complete as j has trailing ones.
    const auto level = [&](int depth) {
      return depth == 0 ? exchange_->partial(s)
                        : fold_buffers_[static_cast<std::size_t>(depth) - 1].data();
    };
    const auto leaves = exchange_->subtrees()[s].size();
    int depth = 0;  // finished sums below the one being written
    for (std::int64_t j = 0; j < leaves; ++j) {
      const bool odd = j % 2 == 1;
      if (odd) --depth;  // the right neighbour is added to the left one as it arrives
      run_micro_batch(step, next(), level(depth), odd ? Contribution::kAdd : Contribution::kStore,
                      losses, times);
      ++depth;
      const int complete = std::countr_one(static_cast<std::uint64_t>(j));
      int merges = std::max(0, complete - 1);
      if (j + 1 == leaves) merges = depth - 1;
      Laps laps;
      for (; merges > 0; --merges) {
        --depth;
        comm::add_into(level(depth - 1), level(depth), floats);
      }
      laps.add_to(times.exchange);
    }
  }
  space_.commit_counters();
}

void AutogradGradients::run_micro_batch(std::int64_t step, const MicroBatch& batch, float* target,
                                        Contribution contribution, double* losses,
                                        StepTimes& times) {
  Laps laps;
  const auto seed =
      base::keyed_random(options_.seed, base::RandomPurpose::kMicroBatch,
                         static_cast<std::uint64_t>(step), static_cast<std::uint64_t>(batch.index));
  generator_.set_current_seed(seed);
  auto default_generator = at::detail::getDefaultCPUGenerator();
  {
    const std::lock_guard lock(default_generator.mutex());
    default_generator.set_current_seed(seed);
  }
  space_.begin_micro_batch(target, contribution);
  const auto outputs =
      space_.model().forward(batch.inputs, {Phase::kTraining, generator_, options_.dense_kernels});
  const auto loss = objective_.loss(outputs, batch.targets);
  laps.add_to(times.forward);
  loss.backward();
  space_.end_micro_batch();
  losses[batch.index] = loss.item<float>();
  laps.add_to(times.backward);
}

const float* AutogradGradients::sum(std::int64_t begin, std::int64_t end, float* room) {
  exchange_->fold(begin, end, room);
  return room;
}

}  // namespace lockstep::trainer
