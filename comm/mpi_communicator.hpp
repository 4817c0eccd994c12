#pragma once
// The communicator over MPI: nonblocking calls, tested in a loop that also watches the deadline
// and the failure notices of the other ranks. Thread rule as for Communicator.
// After a failure MPI may still write to buffers of 64 KiB and more that were handed to the
// operation that failed; smaller ones are safe. The process should end soon.

#include <memory>

#include "comm/communicator.hpp"

namespace lockstep::comm {

/// All processes of the job, with failure handling of its own. MPI must be initialised with
/// MPI_THREAD_MULTIPLE and end later than the communicator (MpiSession sees to both). Collective.
std::unique_ptr<Communicator> make_mpi_world();

}  // namespace lockstep::comm
