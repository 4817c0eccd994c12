#pragma once
// One rank's end of a group of ranks: the collectives and messages that everything above speaks.
// A non-virtual shell (validation, numbering, deadline, comparison of what was called, reductions)
// over a few private virtuals that a backend writes: serial, threads, MPI. Nothing here is global;
// who needs one is passed it. One thread at a time per object, except for fail, check and failure,
// which any thread may call. "Collective" means: all ranks of the group, in the same order.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/failure.hpp"

namespace lockstep::comm {

enum class ReduceOp { kSum, kMin, kMax };

struct Send {
  int rank;
  std::span<const std::byte> bytes;
};

struct Receive {
  int rank;
  std::span<std::byte> bytes;
};

/// What a rank is doing in a group, for error texts and for comparing ranks.
struct Operation {
  const char* name;       ///< `all_gather`
  std::int64_t number;    ///< the how manyeth collective (or exchange) of this communicator
  std::string_view what;  ///< the caller's own word for it
  std::size_t bytes;      ///< of this rank's part; 0 for an exchange
  /// Digest of all collectives called up to this one; 0 for an exchange, which not all ranks call.
  std::uint64_t history;
  std::chrono::milliseconds allowed;
  std::chrono::steady_clock::time_point deadline;
};

/// `all_gather 12 'loss'`.
std::string describe(const Operation& operation);

/// Every operation throws
/// - CommError with the first reason and its exit code once any rank has failed (see fail),
/// - TimeoutError when the deadline passes: it names the operation, its number and the ranks
///   waited for where they are known.
/// An operation that throws has marked the group failed, so that no other rank waits in vain; from
/// then on every operation of the group and of its relatives by split throws the first reason.
class Communicator {
 public:
  virtual ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// This rank in the group that everything was split from: what people know it by.
  int root_rank() const { return root_rank_; }

  /// Longest wait of one operation; five minutes until set. Inherited by split. Local.
  void set_deadline(std::chrono::milliseconds deadline) { deadline_ = deadline; }
  std::chrono::milliseconds deadline() const { return deadline_; }

  /// Returns after every rank has called. Throws CommError when the ranks have not all called the
  /// same collectives, with the same sizes and words, so far. Collective.
  void barrier(std::string_view what);

  /// Fills `bytes` on every rank with those of `root`. Equal sizes. Collective.
  void broadcast(std::span<std::byte> bytes, int root, std::string_view what);

  /// `all` gets every rank's `mine` in rank order: all.size() == size() * mine.size(), and the
  /// same size on every rank. The two may not overlap. Collective.
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all, std::string_view what);

  /// Every rank's text in rank order; lengths may differ. For short texts (all are padded to the
  /// longest on the wire). Collective.
  std::vector<std::string> all_gather_texts(std::string_view mine, std::string_view what);

  /// Combines element by element over the ranks; every rank gets the same bits.
  /// Sums of floating-point numbers are folded by the one tree of reduction_tree.hpp with a leaf
  /// per rank, on every backend. Integer sums wrap. A NaN anywhere makes kMin and kMax NaN.
  /// Equal sizes. Collective.
  void all_reduce(std::span<std::int64_t> values, ReduceOp op, std::string_view what);
  void all_reduce(std::span<double> values, ReduceOp op, std::string_view what);
  void all_reduce(std::span<float> values, ReduceOp op, std::string_view what);

  /// The point-to-point messages of one phase, all posted together; returns when they are sent and
  /// received. Only the ranks that have messages call it. Messages of one pair arrive in the order
  /// of the lists; a receive's size must be its message's (CommError naming both otherwise).
  /// Messages to oneself are fine.
  void exchange(std::span<const Send> sends, std::span<const Receive> receives,
                std::string_view what);

  /// The group of all ranks with the same `color`, ordered by `key`, then by rank. A negative
  /// color joins no group and gets nullptr. Failures are shared with this group. Collective.
  std::unique_ptr<Communicator> split(int color, int key, std::string_view what);

  /// Marks the group and its relatives by split failed: every other rank's wait ends with a
  /// CommError that carries the first reason and its exit code. The first call wins. Local, any
  /// thread.
  void fail(const std::string& reason, base::ExitCode code);

  /// As fail, for a failure of any rank that was learnt of in another way. Local, any thread.
  void relay(const Failure& failure);

  /// Throws the first reason when the group has failed. For waits of other kinds, which call it
  /// now and then. Local, any thread.
  void check();

  /// This rank's waits in the group and in its relatives by split are shown in `note` once they
  /// get long; it must outlive them. Local.
  void show_waits_in(base::WaitNote& note) { record_->show_waits_in(note); }

  /// The first failure known to this rank. Local, any thread.
  std::optional<Failure> failure() const;

 protected:
  Communicator(int rank, int size, int root_rank, std::shared_ptr<FailureRecord> record);

  FailureRecord& record() const { return *record_; }
  /// Shared because the relatives by split end in any order.
  const std::shared_ptr<FailureRecord>& shared_record() const { return record_; }
  /// Of this group among all that were split from one: the same number on all its ranks.
  std::uint64_t identity() const { return identity_; }
  /// The error for a message that is not as long as its receive.
  base::CommError size_mismatch(const Operation& operation, int sender, std::size_t sent,
                                std::size_t expected) const;

 private:
  friend class NodeBarrier;  // shows its waits as ours
  virtual void do_broadcast(const Operation& operation, std::span<std::byte> bytes, int root) = 0;
  virtual void do_all_gather(const Operation& operation, std::span<const std::byte> mine,
                             std::span<std::byte> all) = 0;
  /// No message is to oneself.
  virtual void do_exchange(const Operation& operation, std::span<const Send> sends,
                           std::span<const Receive> receives) = 0;
  /// `members` are ranks of this group in the new group's order, this one among them; all ranks
  /// of this group call at the same time, those without a group with an empty list.
  virtual std::unique_ptr<Communicator> do_split(const Operation& operation, int color,
                                                 std::span<const int> members) = 0;
  /// Tells the other ranks. Any thread; must not throw.
  virtual void do_announce(const Failure& failure) noexcept = 0;
  /// Learns of failures elsewhere, into the record. Any thread.
  virtual void do_poll() = 0;

  template <class Body>
  auto run(const char* name, std::size_t bytes, std::uint64_t history, std::string_view what,
           std::int64_t& counter, Body&& body);
  template <class Body>
  auto run_collective(const char* name, std::size_t bytes, std::string_view what, Body&& body);
  void compare_histories(const Operation& operation);
  template <class Value>
  void reduce(std::span<Value> values, ReduceOp op, std::string_view what);

  int rank_;
  int size_;
  int root_rank_;
  std::shared_ptr<FailureRecord> record_;
  std::chrono::milliseconds deadline_{std::chrono::minutes{5}};
  std::int64_t collectives_ = 0;
  std::int64_t exchanges_ = 0;
  std::uint64_t identity_ = 0;
  std::uint64_t history_ =
      0xCBF29CE484222325;  // digest of all collectives called: name, size, word
};

}  // namespace lockstep::comm
