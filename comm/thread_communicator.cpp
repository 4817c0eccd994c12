#include "comm/thread_communicator.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "comm/waiting.hpp"

namespace lockstep::comm {
namespace {

/// What all threads of one make_thread_group and of everything split from it share: one lock and
/// one signal, so that a failure reaches every wait. Bytes are copied under the lock, so that no
/// rank can leave (and free its buffers) while another reads them.
struct Family {
  std::mutex mutex;
  std::condition_variable changed;
  std::shared_ptr<FailureRecord> record = std::make_shared<FailureRecord>();
};

struct Message {
  std::span<const std::byte> bytes;
  bool taken = false;
};

struct Group {
  struct Member {
    std::int64_t phases = 0;  ///< rendezvous entered so far
    const Operation* operation = nullptr;
    std::span<const std::byte> in;
  };
  struct NewGroup {
    std::shared_ptr<Group> group;
    std::size_t joined = 0;
  };

  Group(int ranks, std::shared_ptr<Family> its_family)
      : family(std::move(its_family)), members(static_cast<std::size_t>(ranks)) {}

  std::shared_ptr<Family> family;
  std::vector<Member> members;
  std::map<std::pair<int, int>, std::deque<Message*>> mailboxes;  // (from, to)
  std::map<int, NewGroup> being_split;                            // by color
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(int rank, int root_rank, std::shared_ptr<Group> group)
      : Communicator(rank, static_cast<int>(group->members.size()), root_rank,
                     group->family->record),
        group_(std::move(group)) {}

 private:
  using Lock = std::unique_lock<std::mutex>;

  void do_broadcast(const Operation& operation, std::span<std::byte> bytes, int root) override {
    Lock lock(group_->family->mutex);
    meet(lock, operation, bytes);
    const auto source = group_->members[static_cast<std::size_t>(root)].in;
    if (rank() != root) std::copy(source.begin(), source.end(), bytes.begin());
    rendezvous(lock, operation);
  }

  void do_all_gather(const Operation& operation, std::span<const std::byte> mine,
                     std::span<std::byte> all) override {
    Lock lock(group_->family->mutex);
    meet(lock, operation, mine);
    auto place = all.begin();
    for (const auto& member : group_->members) {
      place = std::copy(member.in.begin(), member.in.end(), place);
    }
    rendezvous(lock, operation);
  }

  void do_exchange(const Operation& operation, std::span<const Send> sends,
                   std::span<const Receive> receives) override {
    Lock lock(group_->family->mutex);
    std::deque<Message> posted;
    for (const auto& send : sends) {
      posted.push_back({.bytes = send.bytes});
      group_->mailboxes[{rank(), send.rank}].push_back(&posted.back());
    }
    group_->family->changed.notify_all();
    for (const auto& receive : receives) {
      auto& mailbox = group_->mailboxes[{receive.rank, rank()}];
      wait(
          lock, operation, [&] { return !mailbox.empty(); },
          [&] { return std::vector<int>{receive.rank}; });
      const auto bytes = mailbox.front()->bytes;
      if (bytes.size() != receive.bytes.size()) {
        fail_with(size_mismatch(operation, receive.rank, bytes.size(), receive.bytes.size()));
      }
      std::copy(bytes.begin(), bytes.end(), receive.bytes.begin());
      mailbox.front()->taken = true;
      mailbox.pop_front();
      group_->family->changed.notify_all();
    }
    // Leaving early by an exception leaves dangling messages behind, which nobody reads: every
    // operation of a failed family throws before it looks.
    const auto untaken = [&] {
      std::vector<int> ranks;
      for (std::size_t i = 0; i < sends.size(); ++i) {
        if (!posted[i].taken) ranks.push_back(sends[i].rank);
      }
      return ranks;
    };
    wait(
        lock, operation, [&] { return untaken().empty(); }, untaken);
  }

  std::unique_ptr<Communicator> do_split(const Operation& operation, int color,
                                         std::span<const int> members) override {
    Lock lock(group_->family->mutex);
    std::unique_ptr<Communicator> result;
    if (!members.empty()) {
      auto& entry = group_->being_split[color];
      if (entry.group == nullptr) {
        entry.group = std::make_shared<Group>(static_cast<int>(members.size()), group_->family);
      }
      const auto place = std::find(members.begin(), members.end(), rank()) - members.begin();
      result =
          std::make_unique<ThreadCommunicator>(static_cast<int>(place), root_rank(), entry.group);
      if (++entry.joined == members.size()) group_->being_split.erase(color);
    }
    rendezvous(lock, operation);
    return result;
  }

  void do_announce(const Failure&) noexcept override {
    // The lock orders this signal after the check of a rank that is about to wait.
    { const Lock lock(group_->family->mutex); }
    group_->family->changed.notify_all();
  }

  void do_poll() override {}

  /// Waits until `ready`; a failure of the family or the deadline ends the wait by an exception.
  template <class Ready, class WaitedFor>
  void wait(Lock& lock, const Operation& operation, Ready ready, WaitedFor waited_for) {
    const auto ended = [&] { return record().failed() || ready(); };
    const bool in_time = group_->family->changed.wait_until(lock, operation.deadline, ended);
    record().throw_if_failed();
    if (!in_time) {
      fail_with(
          timeout_error(describe(operation), rank(), operation.allowed, not_arrived(waited_for())));
    }
  }

  /// Throws `error` with the family already marked failed: the lock is let go while the stack
  /// unwinds, and nobody may read what this rank had shown to the others from then on.
  template <class Error>
  [[noreturn]] void fail_with(const Error& error) {
    record().record({.rank = root_rank(), .reason = error.what(), .code = error.code()});
    group_->family->changed.notify_all();
    throw error;
  }

  /// Returns when every rank has entered as many rendezvous as this one.
  void rendezvous(Lock& lock, const Operation& operation) {
    auto& members = group_->members;
    const auto phase = ++members[static_cast<std::size_t>(rank())].phases;
    const auto missing = [&] {
      std::vector<int> ranks;
      for (std::size_t other = 0; other < members.size(); ++other) {
        if (members[other].phases < phase) ranks.push_back(static_cast<int>(other));
      }
      return ranks;
    };
    group_->family->changed.notify_all();
    wait(
        lock, operation, [&] { return missing().empty(); }, missing);
  }

  /// Rendezvous that shows `in` to the others and checks that all ranks do the same thing.
  void meet(Lock& lock, const Operation& operation, std::span<const std::byte> in) {
    auto& mine = group_->members[static_cast<std::size_t>(rank())];
    mine.operation = &operation;
    mine.in = in;
    rendezvous(lock, operation);
    const auto& first = group_->members[0];
    for (std::size_t other = 1; other < group_->members.size(); ++other) {
      const auto& member = group_->members[other];
      const auto doing = [](const Group::Member& whose) {
        return describe(*whose.operation) + " of " + std::to_string(whose.in.size()) + " bytes";
      };
      if (doing(member) != doing(first)) {
        fail_with(base::CommError(
            "rank " + std::to_string(other) + " is in " + doing(member) + " while rank 0 is in " +
            doing(first) + " (collectives must be called in the same order); report this bug"));
      }
    }
  }

  std::shared_ptr<Group> group_;  // shared by its ranks, which end in any order
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_thread_group(int ranks) {
  LOCKSTEP_EXPECT(ranks >= 1, "a group has at least one rank");
  const auto group = std::make_shared<Group>(ranks, std::make_shared<Family>());
  std::vector<std::unique_ptr<Communicator>> communicators;
  communicators.reserve(static_cast<std::size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    communicators.push_back(std::make_unique<ThreadCommunicator>(rank, rank, group));
  }
  return communicators;
}

void run_on_threads(int ranks, const std::function<void(Communicator&)>& rank_main) {
  const auto group = make_thread_group(ranks);
  std::vector<std::exception_ptr> thrown(group.size());
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < group.size(); ++rank) {
    threads.emplace_back([&, rank] {
      try {
        rank_main(*group[rank]);
      } catch (const base::Error& error) {
        thrown[rank] = std::current_exception();
        group[rank]->fail(error.what(), error.code());
      } catch (const std::exception& error) {
        thrown[rank] = std::current_exception();
        group[rank]->fail(error.what(), base::ExitCode::kFailed);
      } catch (...) {
        thrown[rank] = std::current_exception();
        group[rank]->fail("an exception without a text", base::ExitCode::kFailed);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const auto failure = group[0]->failure();
  if (failure && thrown[static_cast<std::size_t>(failure->rank)] != nullptr) {
    std::rethrow_exception(thrown[static_cast<std::size_t>(failure->rank)]);
  }
  for (const auto& exception : thrown) {
    if (exception != nullptr) std::rethrow_exception(exception);
  }
}

}  // namespace lockstep::comm
