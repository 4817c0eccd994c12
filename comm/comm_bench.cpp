#include "comm/comm_bench.hpp"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "base/error.hpp"
#include "comm/gradient_exchange.hpp"
#include "comm/node_memory.hpp"
#include "comm/node_relay.hpp"

namespace lockstep::comm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBatches = 5;
constexpr int kPeriod = 17;

/// Small whole numbers: their sums are exact in any order.
float part_of(int rank, std::int64_t i) { return static_cast<float>(rank + 1 + i % kPeriod); }

float total_of(int ranks, std::int64_t i) {
  return static_cast<float>(ranks * (ranks + 1) / 2 + ranks * static_cast<int>(i % kPeriod));
}

double slowest(Communicator& world, double seconds) {
  world.all_reduce(std::span(&seconds, 1), ReduceOp::kMax, "slowest rank");
  return seconds;
}

bool all_right(Communicator& world, const float* sums, std::int64_t count) {
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < count; ++i) wrong += sums[i] != total_of(world.size(), i);
  world.all_reduce(std::span(&wrong, 1), ReduceOp::kSum, "wrong sums");
  return wrong == 0;
}

/// Seconds of one call: the median of some batches, each of them about a part of `budget` long.
double time_of(Communicator& world, double budget, const std::function<void()>& sum) {
  const auto batch = [&](int calls) {
    world.barrier("start of a batch");
    const auto begin = Clock::now();
    for (int i = 0; i < calls; ++i) sum();
    return slowest(world, std::chrono::duration<double>(Clock::now() - begin).count() / calls);
  };
  const double once = batch(3);
  const int calls =
      std::clamp(static_cast<int>(budget / kBatches / std::max(once, 1e-7)), 1, 20'000);
  std::vector<double> seconds;
  for (int i = 0; i < kBatches; ++i) seconds.push_back(batch(calls));
  std::ranges::nth_element(seconds, seconds.begin() + kBatches / 2);
  return seconds[kBatches / 2];
}

/// As a training step does it: each rank's array in node memory, each rank sums its slice of all.
CommBenchRow bench_node_memory(Communicator& world, Communicator& node, const Topology& topology,
                               std::int64_t count, double budget) {
  GradientExchangeOptions options;
  options.floats = count;
  options.leaves = world.size();
  std::vector<ByteRange> slice_bytes;
  for (std::int64_t rank = 0; rank < world.size(); ++rank) {
    const LeafRange slice{count * rank / world.size(), count * (rank + 1) / world.size()};
    options.leaves_of_rank.push_back({rank, rank + 1});
    options.slice_of_rank.push_back(slice);
    slice_bytes.push_back({static_cast<std::size_t>(slice.begin) * sizeof(float),
                           static_cast<std::size_t>(slice.end) * sizeof(float)});
  }
  const auto own = options.slice_of_rank[static_cast<std::size_t>(world.rank())];
  GradientExchange exchange(world, node, topology, std::move(options));
  NodeMemory result(node, static_cast<std::size_t>(count) * sizeof(float), "sums");
  NodeRelay relay(world, topology);
  auto* sums = reinterpret_cast<float*>(result.bytes().data());
  for (std::int64_t i = 0; i < count; ++i) exchange.partial(0)[i] = part_of(world.rank(), i);

  CommBenchRow row{.algorithm = "node memory", .bytes = result.bytes().size()};
  row.seconds = time_of(world, budget, [&] {
    exchange.exchange();
    exchange.fold(own.begin, own.end, sums + own.begin);
    relay.spread(result.bytes(), slice_bytes, "sums between nodes");
    exchange.finish();
  });
  row.right = all_right(world, sums, count);
  return row;
}

CommBenchRow bench_mpi(Communicator& world, std::int64_t count, double budget) {
  std::vector<float> values(static_cast<std::size_t>(count));
  const auto sum = [&] {
    const int code = MPI_Allreduce(MPI_IN_PLACE, values.data(), static_cast<int>(count), MPI_FLOAT,
                                   MPI_SUM, MPI_COMM_WORLD);
    if (code != MPI_SUCCESS) {
      throw base::CommError("MPI_Allreduce failed with code " + std::to_string(code) +
                            " (MPI gives no reason); see mpirun's output");
    }
  };
  for (std::int64_t i = 0; i < count; ++i) {
    values[static_cast<std::size_t>(i)] = part_of(world.rank(), i);
  }
  sum();
  CommBenchRow row{.algorithm = "MPI_Allreduce", .bytes = values.size() * sizeof(float)};
  row.right = all_right(world, values.data(), count);
  // In place: sums of zeros stay zero.
  std::ranges::fill(values, 0.0F);
  row.seconds = time_of(world, budget, sum);
  return row;
}

}  // namespace

std::vector<CommBenchRow> bench_sums(Communicator& world, Communicator& node,
                                     const Topology& topology, const CommBenchOptions& options) {
  std::vector<CommBenchRow> rows;
  for (const auto bytes : options.sizes) {
    const auto count = static_cast<std::int64_t>((bytes + sizeof(float) - 1) / sizeof(float));
    rows.push_back(bench_node_memory(world, node, topology, count, options.seconds_per_row));
    if (options.with_mpi) rows.push_back(bench_mpi(world, count, options.seconds_per_row));
  }
  const double ranks = world.size();
  for (auto& row : rows) {
    row.bus_bandwidth = 2 * (ranks - 1) / ranks * static_cast<double>(row.bytes) / row.seconds;
  }
  return rows;
}

}  // namespace lockstep::comm
