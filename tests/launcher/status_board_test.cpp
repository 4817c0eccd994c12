#include "launcher/status_board.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/file_system.hpp"
#include "launcher/health_writer.hpp"
#include "launcher/rank_watch.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::launcher {
namespace {

/// A child process that stands on the board as `rank` and does `work`.
template <class Work>
pid_t start_rank(const StatusBoard& board, int rank, Work work) {
  const auto address = board.address();
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  auto mine = StatusBoard::find({{kBoardVariable, address}});
  mine->row(rank).take(::getpid());
  work(mine->row(rank));
  ::_exit(0);
}

[[noreturn]] void sleep_for_ever() {
  for (;;) ::pause();
}

/// Until the watch has seen all ranks and `gone` holds.
template <class Gone>
void follow(RankWatch& watch, Gone gone) {
  for (;;) {
    watch.update();
    if (watch.complete() && gone()) return;
    std::this_thread::yield();
  }
}

TEST(StatusBoard, IsFoundByItsAddressInAnotherProcess) {
  StatusBoard board(2);
  const pid_t pid = start_rank(board, 1, [](RankRow& row) {
    row.position.enter(base::Phase::kSave);
    row.position.finished(7);
    row.wait.waits("node barrier 'losses'");
  });
  ::waitpid(pid, nullptr, 0);

  EXPECT_EQ(board.row(1).pid(), pid);
  EXPECT_EQ(board.row(1).position.phase(), base::Phase::kSave);
  EXPECT_EQ(board.row(1).position.step(), 7);
  EXPECT_EQ(board.row(1).wait.read(), "node barrier 'losses'");
  EXPECT_EQ(board.row(0).pid(), 0);
}

TEST(StatusBoard, IsNotFoundWhereItsAddressNamesSomethingElse) {
  EXPECT_EQ(StatusBoard::find({}), nullptr);
  EXPECT_EQ(StatusBoard::find({{kBoardVariable, "/etc/passwd"}}), nullptr);
  EXPECT_EQ(StatusBoard::find({{kBoardVariable, "/proc/self/fd/0"}}), nullptr);
  EXPECT_EQ(StatusBoard::find({{kBoardVariable, "/proc/1/fd/77777"}}), nullptr);
}

TEST(StatusBoard, ShowsTheFatalSignalThatEndsARank) {
  StatusBoard board(1);
  const pid_t pid = start_rank(board, 0, [](RankRow& row) {
    note_fatal_signals(row);
    ::kill(::getpid(), SIGSEGV);
    sleep_for_ever();
  });
  int status = 0;
  ::waitpid(pid, &status, 0);

  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  EXPECT_EQ(board.row(0).ending().kind, Ending::Kind::kSignal);
  EXPECT_EQ(board.row(0).ending().value, SIGSEGV);
}

TEST(HealthWriter, TellsWhatEachRankOfTheHostDoes) {
  StatusBoard board(3);
  board.row(0).take(100);
  board.row(2).take(102);
  board.row(2).position.enter(base::Phase::kEvaluation);
  board.row(2).position.finished(9);
  board.row(2).wait.waits("all_gather 3 'metrics'");
  const tests::TemporaryDirectory directory;
  const auto path = directory.file("health/a.json");

  { const HealthWriter writer(base::FileSystem::posix(), path, board, {0, 1, 2}); }

  const auto json = nlohmann::json::parse(base::FileSystem::posix().read_text(path));
  ASSERT_EQ(json["ranks"].size(), 2u);  // rank 1 has not taken its row
  EXPECT_EQ(json["ranks"][1]["rank"], 2);
  EXPECT_EQ(json["ranks"][1]["pid"], 102);
  EXPECT_EQ(json["ranks"][1]["phase"], "evaluation");
  EXPECT_EQ(json["ranks"][1]["step"], 9);
  EXPECT_EQ(json["ranks"][1]["waits_in"], "all_gather 3 'metrics'");
  EXPECT_GE(json["ranks"][1]["seconds_in_phase"].get<double>(), 0);
}

TEST(RankWatch, NamesTheRankThatWasKilledAndWhereItWas) {
  StatusBoard board(2);
  RankWatch watch(board);
  const pid_t healthy = start_rank(board, 0, [](RankRow&) { sleep_for_ever(); });
  const pid_t killed = start_rank(board, 1, [](RankRow& row) {
    row.position.enter(base::Phase::kStep);
    row.position.finished(3);
    ::kill(::getpid(), SIGKILL);
  });

  follow(watch, [&] { return watch.first_death().has_value(); });
  const auto death = watch.first_death().value();
  EXPECT_EQ(death.rank, 1);
  EXPECT_EQ(death.signal, SIGKILL);
  EXPECT_EQ(death.phase, "step");
  EXPECT_EQ(death.step, 3);
  EXPECT_FALSE(watch.all_gone());

  watch.signal_all(SIGKILL);
  follow(watch, [&] { return watch.all_gone(); });
  ::waitpid(healthy, nullptr, 0);
  ::waitpid(killed, nullptr, 0);
}

TEST(RankWatch, BlamesTheRankThatToldOfAFailureNotTheOneItTookDown) {
  StatusBoard board(2);
  RankWatch watch(board);
  const pid_t taken_down = start_rank(board, 0, [](RankRow&) { ::kill(::getpid(), SIGKILL); });
  const pid_t failed = start_rank(board, 1, [](RankRow& row) {
    row.note({Ending::Kind::kExit, 3});
    sleep_for_ever();
  });

  follow(watch, [&] { return watch.first_death().has_value(); });
  while (board.row(1).ending().kind == Ending::Kind::kNone) std::this_thread::yield();
  EXPECT_EQ(watch.first_death()->rank, 1);
  EXPECT_EQ(watch.first_death()->exit_code, 3);

  watch.signal_all(SIGKILL);
  ::waitpid(taken_down, nullptr, 0);
  ::waitpid(failed, nullptr, 0);
}

TEST(RankWatch, SeesNoDeathInAnOrderlyEnd) {
  StatusBoard board(2);
  RankWatch watch(board);
  const pid_t done = start_rank(board, 0, [](RankRow& row) { row.note({Ending::Kind::kExit, 0}); });
  const pid_t stopped = start_rank(board, 1, [](RankRow& row) {
    row.note({Ending::Kind::kExit, 75});
  });

  follow(watch, [&] { return watch.all_gone(); });

  EXPECT_FALSE(watch.first_death());
  ::waitpid(done, nullptr, 0);
  ::waitpid(stopped, nullptr, 0);
}

}  // namespace
}  // namespace lockstep::launcher
