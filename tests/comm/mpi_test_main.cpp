// Main of a GoogleTest program whose tests are collective: every rank runs every test. Rank 0
// prints as usual, the others only what fails; the exit code is nonzero when a test failed on any
// rank, or none ran.

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <string>

#include "base/environment.hpp"
#include "comm/mpi_session.hpp"
#include "tests/comm/mpi_world.hpp"

namespace lockstep {
namespace {

comm::Communicator* world = nullptr;

class PrintFailuresOnly final : public ::testing::EmptyTestEventListener {
 public:
  explicit PrintFailuresOnly(int rank) : rank_(rank) {}

 private:
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", rank_,
                 result.file_name() == nullptr ? "?" : result.file_name(), result.line_number(),
                 result.summary());
  }

  int rank_;
};

int run_all_tests(comm::Communicator& group) {
  if (group.rank() != 0) {
    auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new PrintFailuresOnly(group.rank()));
  }
  const bool failed = RUN_ALL_TESTS() != 0;
  const bool none_ran = ::testing::UnitTest::GetInstance()->test_to_run_count() == 0;
  std::array<std::int64_t, 1> bad{failed || none_ran ? 1 : 0};
  group.all_reduce(std::span<std::int64_t>(bad), comm::ReduceOp::kMax, "result of all tests");
  return static_cast<int>(bad[0]);
}

}  // namespace

comm::Communicator& tests::mpi_world() { return *world; }

}  // namespace lockstep

int main(int argc, char** argv) {
  namespace base = lockstep::base;
  namespace comm = lockstep::comm;
  ::testing::InitGoogleTest(&argc, argv);
  try {
    comm::MpiSession session(base::launched_as(base::environment_variables()));
    lockstep::world = &session.world();
    lockstep::world->set_deadline(std::chrono::seconds(30));
    try {
      return lockstep::run_all_tests(session.world());
    } catch (const base::Error& error) {
      std::fprintf(stderr, "rank %d: %s\n", session.world().rank(), error.what());
      comm::MpiSession::abort(error.code());
    }
  } catch (const base::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
