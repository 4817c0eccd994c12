#include "comm/mpi_session.hpp"

#include <mpi.h>
#include <unistd.h>

#include <exception>
#include <string>

#include "comm/mpi_channel.hpp"
#include "comm/mpi_communicator.hpp"

namespace lockstep::comm {
namespace {

/// Throws when MPI is not what the launcher promised.
void check_launch(const base::LaunchedAs& launched, int thread_support) {
  int size = 1;
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  if (launched.world_size > 0 && launched.world_size != size) {
    throw base::EnvironmentError(
        "the launcher started " + std::to_string(launched.world_size) + " processes and MPI sees " +
        std::to_string(size) +
        " (it speaks another process management interface than this MPI, so each process would "
        "compute alone); use the mpirun of this MPI, or 'srun --mpi=pmix'");
  }
  if (thread_support < MPI_THREAD_MULTIPLE) {
    throw base::EnvironmentError(
        "this MPI does not support MPI_THREAD_MULTIPLE (a failing thread could not tell the other "
        "ranks); use an MPI built with it, as Debian's Open MPI is");
  }
}

}  // namespace

MpiSession::MpiSession(const base::LaunchedAs& launched)
    : uncaught_exceptions_(std::uncaught_exceptions()) {
  if (launched.launcher == base::Launcher::kNone) {
    throw base::EnvironmentError(
        "this process was not started by mpirun or srun (MPI would form a group of one); start it "
        "through one of them, or run without MPI");
  }
  int thread_support = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &thread_support),
            "MPI_Init_thread");
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  try {
    check_launch(launched, thread_support);
    world_ = make_mpi_world();
  } catch (const base::EnvironmentError&) {
    MPI_Finalize();  // every rank throws the same
    throw;
  }
}

MpiSession::~MpiSession() {
  if (std::uncaught_exceptions() > uncaught_exceptions_) {
    abort(base::ExitCode::kFailed);  // nobody told the other ranks: they must not wait
  }
  if (world_->failure()) return;
  try {
    world_->barrier("end of the MPI session");
  } catch (const base::Error&) {
    return;
  }
  world_.reset();
  MPI_Finalize();
}

void MpiSession::abort(base::ExitCode code) {
  MPI_Abort(MPI_COMM_WORLD, static_cast<int>(code));
  _exit(static_cast<int>(code));
}

}  // namespace lockstep::comm
