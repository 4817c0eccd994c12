#pragma once
// This process's membership in an MPI job: initialises MPI, owns the world communicator, and
// finalises. Made once, early in main, and only in a process that mpirun or srun started; the
// serial path never touches MPI. Made and ended on the same thread. Never fork while it exists.

#include <memory>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "comm/communicator.hpp"

namespace lockstep::comm {

class MpiSession {
 public:
  /// Throws EnvironmentError when the launcher's number of processes is not MPI's (each process
  /// would compute alone), or MPI cannot be used from several threads. Collective.
  explicit MpiSession(const base::LaunchedAs& launched);
  /// Collective unless the group has failed: then MPI is left as it is, because finalising would
  /// wait for ranks that are gone, and the process should end by abort.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  Communicator& world() { return *world_; }

  /// Ends every process of the job with `code`. Local.
  [[noreturn]] static void abort(base::ExitCode code);

 private:
  int uncaught_exceptions_;  // when it began
  std::unique_ptr<Communicator> world_;
};

}  // namespace lockstep::comm
