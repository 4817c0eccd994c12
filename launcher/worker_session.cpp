#include "launcher/worker_session.hpp"

#include "comm/serial_communicator.hpp"

namespace lockstep::launcher {

WorkerSession::WorkerSession(const base::LaunchedAs& launched) {
  if (launched.launcher == base::Launcher::kNone) {
    serial_ = std::make_unique<comm::SerialCommunicator>();
    world_ = serial_.get();
  } else {
    mpi_ = std::make_unique<comm::MpiSession>(launched);
    world_ = &mpi_->world();
  }
}

void WorkerSession::find_nodes(int ranks_per_node) {
  topology_ = comm::discover_topology(*world_, comm::this_host(), ranks_per_node);
  node_ = world_->split(topology_.node, topology_.local_rank, "the ranks of a node");
}

}  // namespace lockstep::launcher
