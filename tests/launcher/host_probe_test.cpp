// With a script in mpirun's place that knows which hosts are there.

#include "launcher/host_probe.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temporary_directory.hpp"

namespace lockstep::launcher {
namespace {

using std::chrono::steady_clock;
using testing::ElementsAre;
using testing::IsEmpty;

class HostProbe : public testing::Test {
 protected:
  /// `cases` are branches of a shell's case over the host and its slot.
  std::vector<std::string> silent(const std::string& cases, std::chrono::milliseconds patience) {
    LaunchRequest request;
    request.ranks = 4;
    request.hosts = {
        {.host = "a", .slots = 1}, {.host = "b", .slots = 2}, {.host = "c", .slots = 1}};
    request.mpirun = directory_.file("mpirun");
    {
      std::ofstream script(request.mpirun);
      script << "#!/bin/sh\n[ $1 = -n ] && [ $2 = 1 ] && [ $3 = --host ] || exit 9\ncase $4 in\n"
             << cases << "\nesac\nshift 4\n"
             << "while [ $# -gt 0 ]; do [ -x $1 ] && exec $1; shift; done\nexit 8\n";
    }
    std::filesystem::permissions(request.mpirun, std::filesystem::perms::owner_all);
    return silent_hosts(request, "/bin/true", {{"PATH", "/usr/bin:/bin"}}, patience,
                        [this] { return stopped_; });
  }

  tests::TemporaryDirectory directory_;
  bool stopped_ = false;
};

TEST_F(HostProbe, FindsAllHostsThatAnswer) {
  EXPECT_THAT(silent("*) ;;", std::chrono::seconds(10)), IsEmpty());
}

TEST_F(HostProbe, NamesAHostThatCannotBeReachedAndOneThatSaysNothing) {
  const auto begin = steady_clock::now();
  EXPECT_THAT(
      silent("a:1) echo no route >&2; exit 1;; b:1) sleep 1000;;", std::chrono::milliseconds(500)),
      ElementsAre("a", "b"));
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(HostProbe, EndsWhenTheUserWantsToStop) {
  stopped_ = true;
  const auto begin = steady_clock::now();
  EXPECT_THAT(silent("*) sleep 1000;;", std::chrono::minutes(10)), IsEmpty());
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(5));
}

}  // namespace
}  // namespace lockstep::launcher
