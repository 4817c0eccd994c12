#pragma once
// A worker's place among the ranks: MPI when a launcher started it, alone otherwise. Made once in
// main, after everything that forks.

#include <memory>

#include "base/environment.hpp"
#include "comm/communicator.hpp"
#include "comm/mpi_session.hpp"
#include "comm/topology.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::launcher {

class WorkerSession {
 public:
  /// Throws EnvironmentError when launcher and MPI do not fit. Collective.
  explicit WorkerSession(const base::LaunchedAs& launched);

  /// Finds the nodes; until then there is only `world`. Collective.
  void find_nodes(int ranks_per_node);

  comm::Communicator& world() { return *world_; }
  trainer::RankGroup group() { return {*world_, *node_, topology_}; }
  bool has_mpi() const { return mpi_ != nullptr; }

 private:
  std::unique_ptr<comm::MpiSession> mpi_;       // null when alone
  std::unique_ptr<comm::Communicator> serial_;  // null with MPI
  comm::Communicator* world_ = nullptr;
  comm::Topology topology_;
  std::unique_ptr<comm::Communicator> node_;
};

}  // namespace lockstep::launcher
