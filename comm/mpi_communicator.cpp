#include "comm/mpi_communicator.hpp"

#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "base/narrow.hpp"
#include "base/text.hpp"
#include "comm/mpi_channel.hpp"
#include "comm/waiting.hpp"

namespace lockstep::comm {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kMessageBytes = std::size_t{1} << 30;  // MPI counts with an int
constexpr std::size_t kStagedBytes = std::size_t{64} << 10;
constexpr int kExchangeTag = 1;
constexpr std::chrono::microseconds kSpinning{20};
constexpr std::chrono::milliseconds kYielding{2};
constexpr std::chrono::microseconds kNap{50};
constexpr std::chrono::milliseconds kRollCallPatience{300};
constexpr std::chrono::seconds kComparison{1};  // of what the ranks called, in a long wait

/// A small buffer that MPI writes to in the caller's place, so that an operation which is given up
/// leaves MPI no address in the caller's stack. Larger buffers are used directly.
class Staged {
 public:
  Staged(std::span<std::byte> target, MpiChannel& channel) : target_(target), channel_(channel) {
    if (target.size() >= kStagedBytes) return;
    staging_.assign(target.begin(), target.end());
    staging_.resize(std::max<std::size_t>(staging_.size(), 1));
  }
  Staged(const Staged&) = delete;
  Staged& operator=(const Staged&) = delete;
  ~Staged() {
    if (!finished_ && !staging_.empty()) channel_.abandon(std::move(staging_));
  }

  std::byte* data() { return staging_.empty() ? target_.data() : staging_.data(); }
  void finish() {
    finished_ = true;
    if (!staging_.empty()) std::copy_n(staging_.begin(), target_.size(), target_.begin());
  }

 private:
  std::span<std::byte> target_;
  MpiChannel& channel_;
  std::vector<std::byte> staging_;
  bool finished_ = false;
};

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, int rank, int size, int root_rank,
                  std::shared_ptr<FailureRecord> record, std::shared_ptr<MpiChannel> channel)
      : Communicator(rank, size, root_rank, std::move(record)),
        comm_(comm),
        channel_(std::move(channel)),
        root_ranks_(find_root_ranks()) {}

  ~MpiCommunicator() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (finalized == 0 && !record().failed()) MPI_Comm_free(&comm_);
  }

 private:
  std::vector<int> find_root_ranks() const {
    MPI_Group mine = MPI_GROUP_NULL;
    MPI_Group world = MPI_GROUP_NULL;
    check_mpi(MPI_Comm_group(comm_, &mine), "MPI_Comm_group");
    check_mpi(MPI_Comm_group(MPI_COMM_WORLD, &world), "MPI_Comm_group");
    std::vector<int> ranks(static_cast<std::size_t>(size()));
    for (int rank = 0; rank < size(); ++rank) ranks[static_cast<std::size_t>(rank)] = rank;
    std::vector<int> translated(ranks.size());
    check_mpi(MPI_Group_translate_ranks(mine, size(), ranks.data(), world, translated.data()),
              "MPI_Group_translate_ranks");
    MPI_Group_free(&mine);
    MPI_Group_free(&world);
    return translated;
  }

  void do_broadcast(const Operation& operation, std::span<std::byte> bytes, int root) override {
    while (bytes.size() > kMessageBytes) {
      broadcast_piece(operation, bytes.first(kMessageBytes), root);
      bytes = bytes.subspan(kMessageBytes);
    }
    broadcast_piece(operation, bytes, root);
  }

  void broadcast_piece(const Operation& operation, std::span<std::byte> bytes, int root) {
    Staged staged(bytes, *channel_);
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(
        MPI_Ibcast(staged.data(), base::narrow<int>(bytes.size()), MPI_BYTE, root, comm_, &request),
        "MPI_Ibcast");
    wait_collective(operation, request);
    staged.finish();
  }

  void do_all_gather(const Operation& operation, std::span<const std::byte> mine,
                     std::span<std::byte> all) override {
    if (mine.size() > kMessageBytes) return all_gather_by_messages(operation, mine, all);
    Staged staged(all, *channel_);
    const auto count = base::narrow<int>(mine.size());
    // In place: what MPI reads lies in the buffer that it writes, safe for as long.
    const auto offset = mine.size() * static_cast<std::size_t>(rank());
    std::copy(mine.begin(), mine.end(), staged.data() + offset);
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, staged.data(), count, MPI_BYTE,
                             comm_, &request),
              "MPI_Iallgather");
    wait_collective(operation, request);
    staged.finish();
  }

  void all_gather_by_messages(const Operation& operation, std::span<const std::byte> mine,
                              std::span<std::byte> all) {
    std::vector<Send> sends;
    std::vector<Receive> receives;
    for (int other = 0; other < size(); ++other) {
      const auto place = all.subspan(mine.size() * static_cast<std::size_t>(other), mine.size());
      if (other == rank()) {
        std::copy(mine.begin(), mine.end(), place.begin());
      } else {
        sends.push_back({other, mine});
        receives.push_back({other, place});
      }
    }
    do_exchange(operation, sends, receives);
  }

  void do_exchange(const Operation& operation, std::span<const Send> sends,
                   std::span<const Receive> receives) override {
    std::vector<MPI_Request> requests;
    std::vector<int> peers;                 // [requests]
    std::vector<std::size_t> first_pieces;  // [receives]
    for (const auto& [from, bytes] : receives) {
      first_pieces.push_back(requests.size());
      for_each_piece(bytes, [&, from = from](std::span<std::byte> piece) {
        peers.push_back(from);
        check_mpi(MPI_Irecv(piece.data(), base::narrow<int>(piece.size()), MPI_BYTE, from,
                            kExchangeTag, comm_, &requests.emplace_back(MPI_REQUEST_NULL)),
                  "MPI_Irecv");
      });
    }
    first_pieces.push_back(requests.size());
    for (const auto& [to, bytes] : sends) {
      for_each_piece(bytes, [&, to = to](std::span<const std::byte> piece) {
        peers.push_back(to);
        check_mpi(MPI_Isend(piece.data(), base::narrow<int>(piece.size()), MPI_BYTE, to,
                            kExchangeTag, comm_, &requests.emplace_back(MPI_REQUEST_NULL)),
                  "MPI_Isend");
      });
    }
    std::vector<MPI_Status> statuses(requests.size());
    try {
      wait_exchange(operation, requests, statuses, peers);
    } catch (const base::Error&) {
      for (std::size_t i = 0; i < first_pieces.back(); ++i) {
        if (requests[i] != MPI_REQUEST_NULL) MPI_Cancel(&requests[i]);
      }
      throw;
    }
    for (std::size_t i = 0; i < receives.size(); ++i) {
      std::size_t sent = 0;
      for (auto piece = first_pieces[i]; piece < first_pieces[i + 1]; ++piece) {
        MPI_Count count = 0;
        check_mpi(MPI_Get_elements_x(&statuses[piece], MPI_BYTE, &count), "MPI_Get_elements_x");
        sent += static_cast<std::size_t>(count);
      }
      if (sent != receives[i].bytes.size()) {
        throw size_mismatch(operation, receives[i].rank, sent, receives[i].bytes.size());
      }
    }
  }

  /// At least one piece, so that empty messages are sent too.
  template <class Byte, class Do>
  static void for_each_piece(std::span<Byte> bytes, Do&& action) {
    while (bytes.size() > kMessageBytes) {
      action(bytes.first(kMessageBytes));
      bytes = bytes.subspan(kMessageBytes);
    }
    action(bytes);
  }

  std::unique_ptr<Communicator> do_split(const Operation&, int color,
                                         std::span<const int> members) override {
    const auto place =
        static_cast<int>(std::find(members.begin(), members.end(), rank()) - members.begin());
    MPI_Comm group = MPI_COMM_NULL;
    // Blocking, but every rank is here: the choices have just been gathered.
    check_mpi(MPI_Comm_split(comm_, members.empty() ? MPI_UNDEFINED : color, place, &group),
              "MPI_Comm_split");
    if (members.empty()) return nullptr;
    return std::make_unique<MpiCommunicator>(group, place, static_cast<int>(members.size()),
                                             root_rank(), shared_record(), channel_);
  }

  void do_announce(const Failure& failure) noexcept override { channel_->announce(failure); }

  void do_poll() override { channel_->poll(); }

  void wait_collective(const Operation& operation, MPI_Request& request) {
    wait(
        operation,
        [&] {
          int done = 0;
          check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), operation.name);
          return done != 0;
        },
        [&] { return call_roll(operation); });
  }

  void wait_exchange(const Operation& operation, std::vector<MPI_Request>& requests,
                     std::vector<MPI_Status>& statuses, std::span<const int> peers) {
    const auto count = base::narrow<int>(requests.size());
    wait(
        operation,
        [&] {
          int done = 0;
          const int result = MPI_Testall(count, requests.data(), &done, statuses.data());
          if (result != MPI_ERR_IN_STATUS) {
            check_mpi(result, "MPI_Testall");
            return done != 0;
          }
          for (const auto& status : statuses) {
            // Too long a message is reported with both sizes, as too short a one is.
            if (status.MPI_ERROR == MPI_ERR_TRUNCATE || status.MPI_ERROR == MPI_ERR_PENDING) {
              continue;
            }
            check_mpi(status.MPI_ERROR, "MPI_Testall");
          }
          return true;
        },
        [&] {
          std::vector<int> late;
          for (std::size_t i = 0; i < requests.size(); ++i) {
            int done = 0;
            MPI_Status status;
            check_mpi(MPI_Request_get_status(requests[i], &done, &status),
                      "MPI_Request_get_status");
            if (done == 0) late.push_back(peers[i]);
          }
          std::sort(late.begin(), late.end());
          late.erase(std::unique(late.begin(), late.end()), late.end());
          return not_arrived(late);
        });
  }

  /// Until `done`; spins a little, yields a while, then naps. `why` explains a missed deadline.
  template <class Done, class Why>
  void wait(const Operation& operation, Done done, Why why) {
    // By time, not by count: with more ranks than cores MPI yields in each test, which takes
    // seconds on a busy machine, and neither deadline nor failures are looked at yet.
    const auto spinning_ends = steady_clock::now() + kSpinning;
    do {
      if (done()) return;
    } while (steady_clock::now() < spinning_ends);
    channel_->set_current(place_of(operation), in_full(operation));
    const auto yielding_ends = spinning_ends + kYielding;
    auto next_comparison = spinning_ends + kComparison;
    std::optional<ShownWait> shown;
    while (!done()) {
      channel_->poll();
      record().throw_if_failed();
      const auto now = steady_clock::now();
      if (now >= next_comparison && now < operation.deadline) {
        require_same_collectives(operation);
        next_comparison = steady_clock::now() + kComparison;
      }
      if (now >= operation.deadline) {
        const auto reason = why();
        record().throw_if_failed();
        throw timeout_error(describe(operation), rank(), operation.allowed, reason);
      }
      if (now < yielding_ends) {
        sched_yield();
      } else {
        if (!shown) shown.emplace(record(), describe(operation));
        std::this_thread::sleep_for(kNap);
      }
    }
    channel_->set_current({}, {});
  }

  MpiChannel::Place place_of(const Operation& operation) const {
    return {identity(), operation.number, operation.history};
  }

  static std::string in_full(const Operation& operation) {
    if (operation.history == 0) return describe(operation);
    return describe(operation) + " of " + base::format_bytes(operation.bytes);
  }

  std::vector<int> others_in_the_world() const {
    std::vector<int> others;
    for (int other = 0; other < size(); ++other) {
      if (other != rank()) others.push_back(root_ranks_[static_cast<std::size_t>(other)]);
    }
    return others;
  }

  /// A rank that is in the collective of the same number of this group and has not called the same
  /// ones so far will never come: better told now than when the deadline passes.
  void require_same_collectives(const Operation& operation) {
    if (operation.history == 0) return;
    const auto mine = place_of(operation);
    for (const auto& answer : channel_->call_roll(others_in_the_world(), kRollCallPatience)) {
      const auto& theirs = answer.place;
      if (answer.operation.empty() || theirs.group != mine.group || theirs.history == 0 ||
          theirs.number != mine.number || theirs.history == mine.history) {
        continue;
      }
      throw base::CommError("rank " + std::to_string(root_rank()) + " is in " + in_full(operation) +
                            ", rank " + std::to_string(answer.rank) + " in " + answer.operation +
                            " (all ranks must call the same collectives, in the same order and "
                            "with the same sizes); report this bug");
    }
  }

  /// Asks the others where they are: MPI does not say who is missing in a collective.
  std::string call_roll(const Operation& operation) {
    const auto answers = channel_->call_roll(others_in_the_world(), kRollCallPatience);
    std::vector<int> absent;
    std::vector<std::string> parts;
    for (int other = 0; other < size(); ++other) {
      if (other == rank()) continue;
      const int root = root_ranks_[static_cast<std::size_t>(other)];
      const auto answer = std::find_if(answers.begin(), answers.end(),
                                       [&](const auto& each) { return each.rank == root; });
      if (answer == answers.end() || answer->operation.empty()) {
        absent.push_back(other);
      } else if (answer->operation != in_full(operation)) {
        parts.push_back("rank " + std::to_string(other) + " is in " + answer->operation);
      }
    }
    if (!absent.empty()) parts.insert(parts.begin(), not_arrived(absent));
    if (parts.empty()) return "all ranks are in it, so the network does not deliver";
    return base::joined(parts);
  }

  MPI_Comm comm_;
  std::shared_ptr<MpiChannel> channel_;  // shared by the communicators that split made
  std::vector<int> root_ranks_;          // [size]
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_world() {
  MPI_Comm comm = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup");
  int rank = 0;
  int size = 1;
  check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm, &size), "MPI_Comm_size");
  const auto record = std::make_shared<FailureRecord>();
  return std::make_unique<MpiCommunicator>(comm, rank, size, rank, record,
                                           std::make_shared<MpiChannel>(record));
}

}  // namespace lockstep::comm
