#pragma once
// Measures what a group's communication reaches: the sum of a float array over all ranks, by the
// way that training takes (node memory, messages between nodes) and by MPI_Allreduce. Used by
// `lockstep bench comm`. One thread a rank.

#include <cstddef>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/topology.hpp"

namespace lockstep::comm {

struct CommBenchRow {
  std::string algorithm;  ///< `node memory` or `MPI_Allreduce`
  std::size_t bytes = 0;  ///< of one rank's array
  double seconds = 0;     ///< of one sum: median over batches, the slowest rank's
  /// 2 (n - 1) / n times bytes over seconds, as nccl-tests defines it.
  double bus_bandwidth = 0;
  bool right = false;  ///< every element on every rank
};

struct CommBenchOptions {
  std::vector<std::size_t> sizes;  ///< bytes, each rounded up to a float
  bool with_mpi = false;           ///< MPI is running and `world` is all of it
  double seconds_per_row = 0.5;
};

/// The same rows on every rank. Throws EnvironmentError when /dev/shm has too little room.
/// Collective.
std::vector<CommBenchRow> bench_sums(Communicator& world, Communicator& node,
                                     const Topology& topology, const CommBenchOptions& options);

}  // namespace lockstep::comm
