// One rank of a job that ends badly, for launch_test.cpp: `mpi_scenario NAME [FILE]`.

#include <signal.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>

#include "base/environment.hpp"
#include "comm/mpi_session.hpp"
#include "comm/node_memory.hpp"

namespace {

using namespace lockstep;  // NOLINT(google-build-using-namespace): a program of its own

/// Rank 1 is killed between two collectives.
void killed(comm::Communicator& world) {
  comm::NodeMemory memory(world, 1 << 20, "scenario");
  for (int step = 0;; ++step) {
    if (step == 10 && world.rank() == 1) ::raise(SIGKILL);
    world.barrier("step");
    memory.barrier().arrive_and_wait(world.deadline(), "step");
  }
}

/// Rank 1 is killed while the others wait for it in a node barrier; rank 0 writes down what it is
/// told. It ignores SIGTERM, which mpirun sends at once, to have the time.
void killed_in_barrier(comm::Communicator& world, const std::string& file) {
  ::signal(SIGTERM, SIG_IGN);
  comm::NodeMemory memory(world, 64, "scenario");
  world.barrier("start");
  if (world.rank() == 1) ::raise(SIGKILL);
  try {
    memory.barrier().arrive_and_wait(std::chrono::minutes(1), "gradients ready");
  } catch (const base::CommError& error) {
    if (world.rank() == 0) std::ofstream(file) << error.what() << "\n";
    throw;
  }
}

/// The last rank finds damaged data; the job is to end with its reason and its code.
void data_error(comm::Communicator& world) {
  if (world.rank() == world.size() - 1) throw base::DataError("row 7 is damaged");
  world.barrier("never whole");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  const std::string file = argc > 2 ? argv[2] : "";
  try {
    auto launched = base::launched_as(base::environment_variables());
    // As srun does when it does not speak this MPI's language.
    if (name == "mismatch") launched = {.launcher = base::Launcher::kSlurm, .world_size = 4};
    comm::MpiSession session(launched);
    auto& world = session.world();
    world.set_deadline(std::chrono::seconds(30));
    try {
      if (name == "killed") killed(world);
      if (name == "killed_in_barrier") killed_in_barrier(world, file);
      if (name == "data_error") data_error(world);
    } catch (const base::Error& error) {
      std::fprintf(stderr, "rank %d: %s\n", world.rank(), error.what());
      world.fail(error.what(), error.code());
      comm::MpiSession::abort(error.code());
    }
  } catch (const base::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
