#include "comm/gradient_exchange.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "comm/micro_batch_plan.hpp"
#include "comm/thread_communicator.hpp"

namespace lockstep::comm {
namespace {

/// Float `place` of the gradient of micro-batch `leaf`: sums of these depend on their order.
float gradient_of(std::int64_t leaf, std::int64_t place) {
  const auto mixed = static_cast<std::uint32_t>((leaf * 7919 + place) * 2654435761);
  return std::ldexp(static_cast<float>(static_cast<std::int32_t>(mixed)),
                    static_cast<int>(leaf % 5) * 7 - 31);
}

float sum_over(LeafRange leaves, std::int64_t place) {
  std::vector<float> values;
  for (auto leaf = leaves.begin; leaf < leaves.end; ++leaf) {
    values.push_back(gradient_of(leaf, place));
  }
  return tree_sum(std::span<const float>(values));
}

/// The total gradient as `ranks` ranks on nodes of `ranks_per_node` compute it.
std::vector<float> exchanged(std::int64_t leaves, int ranks, int ranks_per_node,
                             std::int64_t floats) {
  const MicroBatchPlan plan(leaves, ranks);
  std::vector<float> total(static_cast<std::size_t>(floats));
  run_on_threads(ranks, [&](Communicator& world) {
    const auto topology = discover_topology(world, this_host(), ranks_per_node);
    const auto node = world.split(topology.node, topology.local_rank, "node");
    GradientExchangeOptions options{
        .floats = floats, .leaves = leaves, .leaves_of_rank = {}, .slice_of_rank = {}};
    for (int rank = 0; rank < ranks; ++rank) {
      options.leaves_of_rank.push_back(plan.range_of(rank));
      options.slice_of_rank.push_back({floats * rank / ranks, floats * (rank + 1) / ranks});
    }
    const auto slice = options.slice_of_rank[static_cast<std::size_t>(world.rank())];
    GradientExchange exchange(world, *node, topology, options);
    for (int round = 0; round < 2; ++round) {
      for (std::size_t i = 0; i < exchange.subtrees().size(); ++i) {
        for (std::int64_t place = 0; place < floats; ++place) {
          exchange.partial(i)[place] = sum_over(exchange.subtrees()[i], place);
        }
      }
      exchange.exchange();
      exchange.fold(slice.begin, slice.end, total.data() + slice.begin);
      exchange.finish();
    }
  });
  return total;
}

RC_GTEST_PROP(GradientExchange, GivesTheBitsOfTheTreeOnAnyRanksAndNodes, ()) {
  const auto leaves = *rc::gen::inRange<std::int64_t>(1, 20);
  const auto ranks = *rc::gen::inRange(1, static_cast<int>(std::min<std::int64_t>(leaves, 6)) + 1);
  const auto ranks_per_node = *rc::gen::inRange(1, ranks + 1);
  const auto floats = *rc::gen::element<std::int64_t>(1, 5, 1500);

  const auto total = exchanged(leaves, ranks, ranks_per_node, floats);

  for (std::int64_t place = 0; place < floats; ++place) {
    RC_ASSERT(std::bit_cast<std::uint32_t>(total[static_cast<std::size_t>(place)]) ==
              std::bit_cast<std::uint32_t>(sum_over({0, leaves}, place)));
  }
}

}  // namespace
}  // namespace lockstep::comm
