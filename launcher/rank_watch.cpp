#include "launcher/rank_watch.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "base/process_status.hpp"

namespace lockstep::launcher {
namespace {

int open_pid(std::int64_t pid) {
  return static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0));
}

bool is_orderly(const Ending& ending) {
  if (ending.kind != Ending::Kind::kExit) return false;
  return ending.value == static_cast<int>(base::ExitCode::kDone) ||
         ending.value == static_cast<int>(base::ExitCode::kGate) ||
         ending.value == static_cast<int>(base::ExitCode::kStopped);
}

}  // namespace

RankWatch::RankWatch(StatusBoard& board)
    : board_(board), ranks_(static_cast<std::size_t>(board.ranks())) {}

RankWatch::~RankWatch() {
  for (const auto& rank : ranks_) {
    if (rank.descriptor >= 0) ::close(rank.descriptor);
  }
}

void RankWatch::update() {
  for (int rank = 0; rank < board_.ranks(); ++rank) {
    auto& watched = ranks_[static_cast<std::size_t>(rank)];
    if (watched.state == State::kUnseen) {
      const auto pid = board_.row(rank).pid();
      if (pid == 0) continue;
      watched.descriptor = open_pid(pid);
      watched.state = State::kLives;
    }
    if (watched.state != State::kLives) continue;
    pollfd polled{watched.descriptor, POLLIN, 0};
    // Without a descriptor it had gone before it could be looked at.
    if (watched.descriptor >= 0 && ::poll(&polled, 1, 0) == 0) continue;
    if (watched.descriptor >= 0) ::close(watched.descriptor);
    watched = {State::kGone, -1};
    gone_.push_back(rank);
  }
}

void RankWatch::add_to(std::vector<pollfd>& polled) const {
  for (const auto& rank : ranks_) {
    if (rank.state == State::kLives) polled.push_back({rank.descriptor, POLLIN, 0});
  }
}

bool RankWatch::complete() const {
  return std::ranges::none_of(ranks_,
                              [](const Watched& rank) { return rank.state == State::kUnseen; });
}

bool RankWatch::all_gone() const {
  return std::ranges::none_of(ranks_,
                              [](const Watched& rank) { return rank.state == State::kLives; });
}

RankDeath RankWatch::death_of(int rank) const {
  auto& row = board_.row(rank);
  RankDeath death;
  death.rank = rank;
  death.host = base::host_name();
  death.phase = base::name_of(row.position.phase());
  death.step = row.position.step();
  const auto ending = row.ending();
  switch (ending.kind) {
    case Ending::Kind::kExit: death.exit_code = ending.value; break;
    case Ending::Kind::kSignal: death.signal = ending.value; break;
    // Every other end leaves a word on the board.
    case Ending::Kind::kNone: death.signal = SIGKILL; break;
  }
  return death;
}

std::optional<RankDeath> RankWatch::first_death() const {
  const auto failed = [&](int rank) { return !is_orderly(board_.row(rank).ending()); };
  const auto first = std::ranges::find_if(gone_, failed);
  if (first == gone_.end()) return std::nullopt;
  for (int rank = 0; rank < board_.ranks(); ++rank) {
    const auto ending = board_.row(rank).ending();
    if (ending.kind != Ending::Kind::kNone && !is_orderly(ending)) return death_of(rank);
  }
  return death_of(*first);
}

std::int64_t RankWatch::steps_done() const {
  std::int64_t most = -1;
  for (int rank = 0; rank < board_.ranks(); ++rank) {
    if (ranks_[static_cast<std::size_t>(rank)].state == State::kUnseen) continue;
    most = std::max(most, board_.row(rank).position.step());
  }
  return most;
}

std::vector<RankView> RankWatch::views() const {
  std::vector<RankView> views;
  const auto host = base::host_name();
  for (int rank = 0; rank < board_.ranks(); ++rank) {
    const auto state = ranks_[static_cast<std::size_t>(rank)].state;
    if (state == State::kUnseen) continue;
    auto& row = board_.row(rank);
    RankView view{.rank = rank,
                  .host = host,
                  .lives = state == State::kLives,
                  .phase = row.position.phase(),
                  .step = row.position.step(),
                  .waits_in = row.wait.read()};
    const auto status =
        view.lives ? base::process_status(static_cast<int>(row.pid())) : std::nullopt;
    if (status) {
      view.state = status->state;
      view.cpu_ticks = status->cpu_ticks;
    }
    views.push_back(std::move(view));
  }
  return views;
}

void RankWatch::signal_all(int number) {
  for (const auto& rank : ranks_) {
    if (rank.state != State::kLives) continue;
    ::syscall(SYS_pidfd_send_signal, rank.descriptor, number, nullptr, 0);
  }
}

}  // namespace lockstep::launcher
