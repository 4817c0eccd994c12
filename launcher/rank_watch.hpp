#pragma once
// The processes behind a status board: tells at once when one ends, and ends them. For ranks of
// this host alone. Used by the supervisor; one thread.

#include <poll.h>

#include <optional>
#include <vector>

#include "launcher/hang_watch.hpp"
#include "launcher/status_board.hpp"
#include "launcher/verdict.hpp"

namespace lockstep::launcher {

class RankWatch {
 public:
  explicit RankWatch(StatusBoard& board);
  ~RankWatch();
  RankWatch(const RankWatch&) = delete;
  RankWatch& operator=(const RankWatch&) = delete;

  /// Looks for ranks that have started since, and for those that have ended.
  void update();
  /// Descriptors that become readable when a rank ends.
  void add_to(std::vector<pollfd>& polled) const;

  /// Whether every rank has been seen.
  bool complete() const;
  /// Whether no rank that was seen lives.
  bool all_gone() const;
  /// The first rank that ended as no orderly run does, by the ranks' own account where one of them
  /// left one: ranks that are taken down by it may be gone before it is.
  std::optional<RankDeath> first_death() const;
  /// The most finished steps that a rank shows; -1 when none was seen.
  std::int64_t steps_done() const;
  /// What every rank does now.
  std::vector<RankView> views() const;
  /// A signal to all that live.
  void signal_all(int number);

 private:
  enum class State { kUnseen, kLives, kGone };
  struct Watched {
    State state = State::kUnseen;
    int descriptor = -1;  // pidfd while it lives
  };
  RankDeath death_of(int rank) const;

  StatusBoard& board_;
  std::vector<Watched> ranks_;
  std::vector<int> gone_;  // in the order in which they were found gone
};

}  // namespace lockstep::launcher
