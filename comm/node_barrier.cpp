#include "comm/node_barrier.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <ctime>
#include <new>
#include <vector>

#include "base/environment.hpp"
#include "base/text.hpp"
#include "comm/process_liveness.hpp"
#include "comm/waiting.hpp"

namespace lockstep::comm {
namespace {

using std::chrono::steady_clock;

constexpr int kSpins = 100;
constexpr std::chrono::milliseconds kYielding{5};
constexpr std::chrono::milliseconds kSleep{5};
constexpr std::chrono::milliseconds kLivenessPeriod{100};
constexpr int kYieldsPerCheck = 64;

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Not the private form of the futex: the waiters are other processes.
void sleep_while(std::atomic<std::uint32_t>& word, std::uint32_t value) {
  const std::timespec timeout{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(kSleep).count()};
  syscall(SYS_futex, &word, FUTEX_WAIT, value, &timeout, nullptr, 0);
}

void wake_all(std::atomic<std::uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

enum FailureState : std::uint32_t { kNone, kBeingWritten, kWritten };

}  // namespace

// In shared memory: only lock-free atomics, plain numbers and characters, no addresses. The words
// that many ranks touch lie on cache lines of their own.
struct NodeBarrier::Shared {
  alignas(64) std::atomic<std::uint32_t> generation{0};
  alignas(64) std::atomic<std::uint32_t> arrived{0};
  alignas(64) std::atomic<std::uint32_t> sleepers{0};
  alignas(64) std::atomic<std::uint32_t> failure_state{kNone};
  int failure_rank = 0;
  int failure_code = 0;
  std::array<char, 2048> failure_text{};

  void release(std::uint32_t next_generation) {
    arrived.store(0, std::memory_order_relaxed);
    // Sequentially consistent with the sleepers' own order: count me, then look at generation.
    generation.store(next_generation);
    if (sleepers.load() != 0) wake_all(generation);
  }

  Failure failure() const {
    return {.rank = failure_rank,
            .reason = failure_text.data(),
            .code = static_cast<base::ExitCode>(failure_code)};
  }
};

struct NodeBarrier::Slot {
  alignas(64) std::atomic<std::uint32_t> arrived_at{0};  ///< generation of the last arrival + 1
  int root_rank = 0;
  ProcessIdentity process;
};

static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

std::size_t NodeBarrier::bytes_needed(int ranks) {
  return sizeof(Shared) + static_cast<std::size_t>(ranks) * sizeof(Slot);
}

NodeBarrier::NodeBarrier(Communicator& node, std::byte* memory)
    : node_(node),
      shared_(reinterpret_cast<Shared*>(memory)),
      slots_(reinterpret_cast<Slot*>(memory + sizeof(Shared))),
      spins_(node.size() <= base::available_cores() ? kSpins : 0) {
  if (node.rank() == 0) new (shared_) Shared{};
  auto* mine = new (slots_ + node.rank()) Slot{};
  mine->root_rank = node.root_rank();
  mine->process = this_process();
}

void NodeBarrier::arrive_and_wait(std::chrono::milliseconds deadline, std::string_view what) {
  try {
    throw_if_failed();
    const auto ranks = static_cast<std::uint32_t>(node_.size());
    const auto generation = shared_->generation.load(std::memory_order_relaxed);
    slots_[node_.rank()].arrived_at.store(generation + 1, std::memory_order_relaxed);
    if (shared_->arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == ranks) {
      shared_->release(generation + 1);
    } else {
      wait(generation, deadline, what);
    }
  } catch (const base::Error& error) {
    fail(error.what(), error.code());
    throw;
  }
}

void NodeBarrier::wait(std::uint32_t generation, std::chrono::milliseconds deadline,
                       std::string_view what) {
  const auto over = [&] {
    return shared_->generation.load(std::memory_order_acquire) != generation;
  };
  for (int i = 0; i < spins_; ++i) {
    if (over()) return;
    pause_cpu();
  }

  const auto start = steady_clock::now();
  auto next_liveness = start + kLivenessPeriod;
  std::optional<ShownWait> shown;
  for (int round = 1;; ++round) {
    if (over()) return;
    throw_if_failed();
    const auto now = steady_clock::now();
    if (now >= start + deadline) {
      std::vector<int> late;
      for (int rank = 0; rank < node_.size(); ++rank) {
        if (!has_arrived(rank, generation)) late.push_back(slots_[rank].root_rank);
      }
      throw timeout_error("node barrier " + base::quote(what), node_.root_rank(), deadline,
                          not_arrived(late));
    }
    if (now < start + kYielding) {
      if (round % kYieldsPerCheck == 0) node_.check();
      sched_yield();
      continue;
    }
    if (!shown) shown.emplace(node_.record(), "node barrier " + base::quote(what));
    node_.check();
    if (now >= next_liveness) {
      throw_if_dead(generation, what);
      next_liveness = now + kLivenessPeriod;
    }
    shared_->sleepers.fetch_add(1);
    sleep_while(shared_->generation, generation);
    shared_->sleepers.fetch_sub(1);
  }
}

void NodeBarrier::fail(const std::string& reason, base::ExitCode code) {
  // When this group knows of an earlier failure, that is the one to tell.
  const auto failure =
      node_.failure().value_or(Failure{.rank = node_.root_rank(), .reason = reason, .code = code});
  mark_failed(failure);
  node_.relay(failure);
}

void NodeBarrier::mark_failed(const Failure& failure) {
  std::uint32_t none = kNone;
  if (!shared_->failure_state.compare_exchange_strong(none, kBeingWritten)) return;
  shared_->failure_rank = failure.rank;
  shared_->failure_code = static_cast<int>(failure.code);
  auto& text = shared_->failure_text;
  const auto length = std::min(failure.reason.size(), text.size() - 1);
  std::copy_n(failure.reason.begin(), length, text.begin());
  shared_->failure_state.store(kWritten, std::memory_order_release);
  wake_all(shared_->generation);
}

void NodeBarrier::throw_if_failed() {
  if (shared_->failure_state.load(std::memory_order_acquire) != kWritten) return;
  const auto failure = shared_->failure();
  node_.relay(failure);
  throw base::CommError(failure.reason, failure.code);
}

void NodeBarrier::throw_if_dead(std::uint32_t generation, std::string_view what) const {
  const auto& mine = slots_[node_.rank()];
  for (int rank = 0; rank < node_.size(); ++rank) {
    const auto& other = slots_[rank];
    if (other.process == mine.process || has_arrived(rank, generation)) continue;
    if (is_alive(other.process)) continue;
    throw base::CommError("rank " + std::to_string(other.root_rank) + " (pid " +
                          std::to_string(other.process.pid) + ") is dead, and rank " +
                          std::to_string(node_.root_rank()) + " waited for it in node barrier " +
                          base::quote(what) +
                          " (it was killed or crashed); see its log for the last it did");
  }
}

bool NodeBarrier::has_arrived(int rank, std::uint32_t generation) const {
  return slots_[rank].arrived_at.load(std::memory_order_relaxed) == generation + 1;
}

}  // namespace lockstep::comm
