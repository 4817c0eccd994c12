#pragma once
// A page of shared memory where the ranks of a host show what they do and how they end, so that
// their supervisor learns of a death, a freeze or a lack of progress at once and without asking.
// The supervisor makes it, the ranks of its host find it by LOCKSTEP_BOARD.
// Rows are lock-free; each has one writer, its rank.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/position.hpp"
#include "base/wait_note.hpp"
#include "launcher/memory_file.hpp"

namespace lockstep::launcher {

inline constexpr char kBoardVariable[] = "LOCKSTEP_BOARD";

/// How a rank's process ended, as far as it could say.
struct Ending {
  enum class Kind : std::int32_t {
    kNone,    ///< it said nothing: it runs, or SIGKILL took it
    kExit,    ///< it leaves with exit code `value`
    kSignal,  ///< fatal signal `value`
  };
  Kind kind = Kind::kNone;
  std::int32_t value = 0;
};

class RankRow {
 public:
  base::Position position;
  base::WaitNote wait;

  /// This process is the rank's, from now on.
  void take(std::int64_t pid) { pid_.store(pid, std::memory_order_release); }
  /// 0 = no process has taken the row yet.
  std::int64_t pid() const { return pid_.load(std::memory_order_acquire); }

  /// Async-signal-safe. The first one counts.
  void note(Ending ending) {
    std::int64_t none = 0;
    ending_.compare_exchange_strong(none, static_cast<std::int64_t>(ending.kind) << 32 |
                                              static_cast<std::uint32_t>(ending.value));
  }
  Ending ending() const {
    const auto packed = ending_.load(std::memory_order_acquire);
    return {static_cast<Ending::Kind>(packed >> 32), static_cast<std::int32_t>(packed)};
  }

 private:
  std::atomic<std::int64_t> pid_{0};
  std::atomic<std::int64_t> ending_{0};
};

class StatusBoard {
 public:
  /// A board for ranks 0 to `ranks` - 1. Throws EnvironmentError when the kernel refuses.
  explicit StatusBoard(int ranks);
  /// The supervisor's board by what LOCKSTEP_BOARD says in `variables`; null when there is none on
  /// this host. Never opens anything that is not such a board.
  static std::unique_ptr<StatusBoard> find(const std::map<std::string, std::string>& variables);
  ~StatusBoard();
  StatusBoard(const StatusBoard&) = delete;
  StatusBoard& operator=(const StatusBoard&) = delete;

  int ranks() const { return ranks_; }
  RankRow& row(int rank);
  /// Value of LOCKSTEP_BOARD for processes of this host.
  std::string address() const { return file_.address(); }

 private:
  StatusBoard(MemoryFile file, int ranks, void* memory);

  MemoryFile file_;
  int ranks_;
  void* memory_;
};

/// From now on a fatal signal (SEGV, BUS, FPE, ILL, ABRT) is noted in `row`, then takes its course
/// as before. Handlers are a property of the process: one row a process, which must outlive it.
/// Call it again when a library has put handlers of its own in between.
void note_fatal_signals(RankRow& row);

}  // namespace lockstep::launcher
