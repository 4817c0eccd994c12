#include "comm/communicator.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/text.hpp"
#include "comm/fold.hpp"
#include "comm/reduction_tree.hpp"
#include "comm/waiting.hpp"

namespace lockstep::comm {
namespace {

/// Up to here a reduction gathers everything everywhere: one round instead of two.
constexpr std::size_t kGatheredReductionBytes = 4096;

/// FNV-1a (Fowler, Noll, Vo), 64 bits, going on from `digest`, with an end mark.
std::uint64_t mixed(std::uint64_t digest, std::string_view text) {
  for (const char each : text) digest = (digest ^ static_cast<unsigned char>(each)) * 0x100000001B3;
  return (digest ^ 0x100) * 0x100000001B3;
}

template <class Value>
Value smaller(Value a, Value b) {
  if constexpr (std::is_floating_point_v<Value>) {
    if (std::isnan(a)) return a;
    if (std::isnan(b)) return b;
  }
  return b < a ? b : a;
}

template <class Value>
Value larger(Value a, Value b) {
  if constexpr (std::is_floating_point_v<Value>) {
    if (std::isnan(a)) return a;
    if (std::isnan(b)) return b;
  }
  return a < b ? b : a;
}

std::int64_t wrapping_sum(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

/// out[i] = the parts' i-th elements combined; a part a rank, in rank order. `out` may be a part.
template <class Value, class Combine>
void combine_in_rank_order(std::span<const Value* const> parts, std::span<Value> out,
                           Combine combine) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    Value result = parts[0][i];
    for (const Value* part : parts.subspan(1)) result = combine(result, part[i]);
    out[i] = result;
  }
}

template <class Value>
void combine(std::span<const Value* const> parts, std::span<Value> out, ReduceOp op) {
  if (op == ReduceOp::kMin) return combine_in_rank_order(parts, out, smaller<Value>);
  if (op == ReduceOp::kMax) return combine_in_rank_order(parts, out, larger<Value>);
  if constexpr (std::is_integral_v<Value>) {
    combine_in_rank_order(parts, out, wrapping_sum);
  } else {
    std::vector<LeafRange> leaves;
    for (std::int64_t rank = 0; rank < std::ssize(parts); ++rank)
      leaves.push_back({rank, rank + 1});
    fold_partials(parts, fold_program(leaves, std::ssize(parts)), out.data(), 0, out.size());
  }
}

}  // namespace

std::string describe(const Operation& operation) {
  return std::string(operation.name) + " " + std::to_string(operation.number) + " " +
         base::quote(operation.what);
}

Communicator::Communicator(int rank, int size, int root_rank, std::shared_ptr<FailureRecord> record)
    : rank_(rank), size_(size), root_rank_(root_rank), record_(std::move(record)) {}

Communicator::~Communicator() = default;

/// Runs one operation: numbered, timed, and when it throws, known to the others.
template <class Body>
auto Communicator::run(const char* name, std::size_t bytes, std::uint64_t history,
                       std::string_view what, std::int64_t& counter, Body&& body) {
  const Operation operation{.name = name,
                            .number = ++counter,
                            .what = what,
                            .bytes = bytes,
                            .history = history,
                            .allowed = deadline_,
                            .deadline = std::chrono::steady_clock::now() + deadline_};
  record_->throw_if_failed();
  try {
    return body(operation);
  } catch (const base::Error& error) {
    fail(error.what(), error.code());
    throw;
  } catch (const std::exception& error) {
    fail(error.what(), base::ExitCode::kFailed);
    throw;
  }
}

template <class Body>
auto Communicator::run_collective(const char* name, std::size_t bytes, std::string_view what,
                                  Body&& body) {
  for (const auto part : {std::string_view(name), what}) history_ = mixed(history_, part);
  history_ = mixed(history_, std::to_string(bytes));
  return run(name, bytes, history_, what, collectives_, std::forward<Body>(body));
}

void Communicator::barrier(std::string_view what) {
  run_collective("barrier", 0, what,
                 [&](const Operation& operation) { compare_histories(operation); });
}

/// Nobody knows all histories before everybody has told theirs, so this is a barrier too.
void Communicator::compare_histories(const Operation& operation) {
  std::vector<std::uint64_t> histories(static_cast<std::size_t>(size_));
  do_all_gather(operation, std::as_bytes(std::span(&history_, 1)),
                std::as_writable_bytes(std::span(histories)));
  std::vector<int> different;
  for (int other = 0; other < size_; ++other) {
    if (histories[static_cast<std::size_t>(other)] != histories[0]) different.push_back(other);
  }
  if (different.empty()) return;
  throw base::CommError(
      base::rank_list(different) + " did not call the same collectives as rank 0 up to " +
      describe(operation) + " (all ranks must call the same, in the same order); report this bug");
}

void Communicator::broadcast(std::span<std::byte> bytes, int root, std::string_view what) {
  run_collective("broadcast", bytes.size(), what, [&](const Operation& operation) {
    LOCKSTEP_EXPECT(0 <= root && root < size_,
                    describe(operation) + " has a root outside the group");
    do_broadcast(operation, bytes, root);
  });
}

void Communicator::all_gather(std::span<const std::byte> mine, std::span<std::byte> all,
                              std::string_view what) {
  run_collective("all_gather", mine.size(), what, [&](const Operation& operation) {
    LOCKSTEP_EXPECT(all.size() == mine.size() * static_cast<std::size_t>(size_),
                    describe(operation) + " has room for another number of bytes than it gathers");
    do_all_gather(operation, mine, all);
  });
}

std::vector<std::string> Communicator::all_gather_texts(std::string_view mine,
                                                        std::string_view what) {
  return run_collective("all_gather_texts", 0, what, [&](const Operation& operation) {
    const auto ranks = static_cast<std::size_t>(size_);
    const std::uint64_t length = mine.size();
    std::vector<std::uint64_t> lengths(ranks);
    do_all_gather(operation, std::as_bytes(std::span(&length, 1)),
                  std::as_writable_bytes(std::span(lengths)));
    const auto longest = *std::max_element(lengths.begin(), lengths.end());
    std::string padded(mine);
    padded.resize(longest);
    std::string all(longest * ranks, '\0');
    do_all_gather(operation, std::as_bytes(std::span(padded)),
                  std::as_writable_bytes(std::span(all)));
    std::vector<std::string> texts;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      texts.push_back(all.substr(rank * longest, lengths[rank]));
    }
    return texts;
  });
}

void Communicator::all_reduce(std::span<std::int64_t> values, ReduceOp op, std::string_view what) {
  reduce(values, op, what);
}
void Communicator::all_reduce(std::span<double> values, ReduceOp op, std::string_view what) {
  reduce(values, op, what);
}
void Communicator::all_reduce(std::span<float> values, ReduceOp op, std::string_view what) {
  reduce(values, op, what);
}

template <class Value>
void Communicator::reduce(std::span<Value> values, ReduceOp op, std::string_view what) {
  run_collective("all_reduce", values.size_bytes(), what, [&](const Operation& operation) {
    if (size_ == 1) return;
    const auto ranks = static_cast<std::size_t>(size_);
    std::vector<const Value*> parts(ranks);
    if (values.size_bytes() <= kGatheredReductionBytes) {
      std::vector<Value> all(values.size() * ranks);
      do_all_gather(operation, std::as_bytes(values), std::as_writable_bytes(std::span(all)));
      for (std::size_t rank = 0; rank < ranks; ++rank) {
        parts[rank] = all.data() + rank * values.size();
      }
      combine<Value>(parts, values, op);
      return;
    }

    // Each rank combines one slice of everybody's values, then hands its result to everybody.
    const auto slice = [&](std::span<Value> whole, int rank) {
      const auto begin = whole.size() * static_cast<std::size_t>(rank) / ranks;
      const auto end = whole.size() * (static_cast<std::size_t>(rank) + 1) / ranks;
      return whole.subspan(begin, end - begin);
    };
    const auto mine = slice(values, rank_);
    const auto received = std::make_unique_for_overwrite<Value[]>(mine.size() * (ranks - 1));
    std::vector<Send> sends;
    std::vector<Receive> receives;
    auto* room = received.get();
    for (int other = 0; other < size_; ++other) {
      if (other == rank_) {
        parts[static_cast<std::size_t>(other)] = mine.data();
        continue;
      }
      parts[static_cast<std::size_t>(other)] = room;
      sends.push_back({other, std::as_bytes(slice(values, other))});
      receives.push_back({other, std::as_writable_bytes(std::span(room, mine.size()))});
      room += mine.size();
    }
    do_exchange(operation, sends, receives);
    combine<Value>(parts, mine, op);
    sends.clear();
    receives.clear();
    for (int other = 0; other < size_; ++other) {
      if (other == rank_) continue;
      sends.push_back({other, std::as_bytes(mine)});
      receives.push_back({other, std::as_writable_bytes(slice(values, other))});
    }
    do_exchange(operation, sends, receives);
  });
}

void Communicator::exchange(std::span<const Send> sends, std::span<const Receive> receives,
                            std::string_view what) {
  run("exchange", 0, 0, what, exchanges_, [&](const Operation& operation) {
    std::vector<Send> out;
    std::vector<std::span<const std::byte>> to_self;
    for (const auto& send : sends) {
      LOCKSTEP_EXPECT(0 <= send.rank && send.rank < size_,
                      describe(operation) + " sends outside the group");
      if (send.rank == rank_) {
        to_self.push_back(send.bytes);
      } else {
        out.push_back(send);
      }
    }
    std::vector<Receive> in;
    std::size_t self = 0;
    for (const auto& receive : receives) {
      LOCKSTEP_EXPECT(0 <= receive.rank && receive.rank < size_,
                      describe(operation) + " receives from outside the group");
      if (receive.rank != rank_) {
        in.push_back(receive);
        continue;
      }
      LOCKSTEP_EXPECT(self < to_self.size(),
                      describe(operation) + " receives more from itself than it sends");
      if (to_self[self].size() != receive.bytes.size()) {
        throw size_mismatch(operation, rank_, to_self[self].size(), receive.bytes.size());
      }
      // An empty span has no address to copy from or to.
      if (!receive.bytes.empty()) {
        std::memmove(receive.bytes.data(), to_self[self].data(), receive.bytes.size());
      }
      ++self;
    }
    LOCKSTEP_EXPECT(self == to_self.size(),
                    describe(operation) + " sends more to itself than it receives");
    do_exchange(operation, out, in);
  });
}

base::CommError Communicator::size_mismatch(const Operation& operation, int sender,
                                            std::size_t sent, std::size_t expected) const {
  return base::CommError(describe(operation) + " got " + std::to_string(sent) +
                         " bytes from rank " + std::to_string(sender) + " where rank " +
                         std::to_string(rank_) + " expects " + std::to_string(expected) +
                         " (the two disagree about the message); check that both run the same "
                         "configuration and build");
}

std::unique_ptr<Communicator> Communicator::split(int color, int key, std::string_view what) {
  return run_collective("split", 0, what, [&](const Operation& operation) {
    struct Choice {
      int color;
      int key;
    };
    const Choice mine{color, key};
    std::vector<Choice> choices(static_cast<std::size_t>(size_));
    do_all_gather(operation, std::as_bytes(std::span(&mine, 1)),
                  std::as_writable_bytes(std::span(choices)));
    std::vector<int> members;
    for (int other = 0; color >= 0 && other < size_; ++other) {
      if (choices[static_cast<std::size_t>(other)].color == color) members.push_back(other);
    }
    std::stable_sort(members.begin(), members.end(), [&](int a, int b) {
      return choices[static_cast<std::size_t>(a)].key < choices[static_cast<std::size_t>(b)].key;
    });
    auto group = do_split(operation, color, members);
    if (group != nullptr) {
      group->set_deadline(deadline_);
      group->identity_ =
          mixed(identity_, std::to_string(operation.number) + " " + std::to_string(color));
    }
    return group;
  });
}

void Communicator::fail(const std::string& reason, base::ExitCode code) {
  relay({.rank = root_rank_, .reason = reason, .code = code});
}

void Communicator::relay(const Failure& failure) {
  if (record_->record(failure)) do_announce(failure);
}

void Communicator::check() {
  do_poll();
  record_->throw_if_failed();
}

std::optional<Failure> Communicator::failure() const {
  if (!record_->failed()) return std::nullopt;
  return record_->first();
}

}  // namespace lockstep::comm
