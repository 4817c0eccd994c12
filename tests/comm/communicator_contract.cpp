#include "tests/comm/communicator_contract.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "base/hash.hpp"
#include "comm/reduction_tree.hpp"

namespace lockstep::comm {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::array<std::size_t, 5> kSizes{0, 1, 3, 1024, (std::size_t{1} << 20) + 3};

/// A value that differs between ranks and places; sums of these depend on their order.
template <class Value>
Value value_of(int rank, std::size_t place) {
  const auto mixed =
      static_cast<std::uint32_t>((static_cast<std::size_t>(rank) * 7919 + place) * 2654435761U);
  const auto number = static_cast<std::int32_t>(mixed);
  if constexpr (std::is_integral_v<Value>) {
    return Value{number} << 20;
  } else {
    return std::ldexp(static_cast<Value>(number) / 3, rank % 3 * 9 - 31);
  }
}

template <class Value>
std::vector<Value> values_of(int rank, std::size_t count) {
  std::vector<Value> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = value_of<Value>(rank, i);
  return values;
}

Bytes bytes_of(int rank, std::size_t count) {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::byte>(static_cast<std::size_t>(rank) * 31 + i * 7);
  }
  return bytes;
}

template <class Value>
Value expected(int ranks, std::size_t place, ReduceOp op) {
  std::vector<Value> leaves;
  leaves.reserve(static_cast<std::size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) leaves.push_back(value_of<Value>(rank, place));
  if (op == ReduceOp::kMin) return *std::min_element(leaves.begin(), leaves.end());
  if (op == ReduceOp::kMax) return *std::max_element(leaves.begin(), leaves.end());
  if constexpr (std::is_integral_v<Value>) {
    Value sum = 0;
    for (const auto leaf : leaves) sum += leaf;
    return sum;
  } else {
    return tree_sum(std::span<const Value>(leaves));
  }
}

template <class Value>
void reduces_to_the_reference(Communicator& group) {
  for (const auto op : {ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax}) {
    for (const auto count : kSizes) {
      auto values = values_of<Value>(group.rank(), count);
      group.all_reduce(std::span<Value>(values), op, "contract");
      // All of a short array, and a sample of a long one that meets every rank's slice.
      const std::size_t stride = count <= 1024 ? 1 : 97;
      for (std::size_t i = 0; i < count; i += stride) {
        ASSERT_EQ(values[i], expected<Value>(group.size(), i, op)) << count << " at " << i;
      }
      const auto digest = base::xxh3_128(std::as_bytes(std::span(values)));
      for (const auto& other : group.all_gather_texts(
               std::string(reinterpret_cast<const char*>(digest.data()), digest.size()),
               "digest")) {
        ASSERT_EQ(std::memcmp(other.data(), digest.data(), digest.size()), 0);
      }
    }
  }
}

void barrier_holds_every_rank_until_the_last(Communicator& group) {
  for (int i = 0; i < 20; ++i) group.barrier("again");
}

void broadcast_gives_every_rank_the_bytes_of_the_root(Communicator& group) {
  for (int root = 0; root < group.size(); ++root) {
    for (const auto count : kSizes) {
      auto bytes = bytes_of(group.rank(), count);
      group.broadcast(bytes, root, "contract");
      ASSERT_EQ(bytes, bytes_of(root, count)) << count << " from " << root;
    }
  }
}

void all_gather_puts_the_ranks_in_order(Communicator& group) {
  for (const auto count : kSizes) {
    Bytes all(count * static_cast<std::size_t>(group.size()));
    group.all_gather(bytes_of(group.rank(), count), all, "contract");
    for (int rank = 0; rank < group.size(); ++rank) {
      const auto theirs = bytes_of(rank, count);
      ASSERT_TRUE(std::equal(
          theirs.begin(), theirs.end(),
          all.begin() + static_cast<std::ptrdiff_t>(count * static_cast<std::size_t>(rank))))
          << count << " of " << rank;
    }
  }
}

void all_gather_texts_keeps_lengths_and_zero_bytes(Communicator& group) {
  const auto text_of = [](int rank) {
    return std::string(static_cast<std::size_t>(rank) * 100, 'x') + std::string(1, '\0');
  };
  const auto texts = group.all_gather_texts(text_of(group.rank()), "texts");
  const auto empty = group.all_gather_texts("", "empty texts");

  ASSERT_EQ(texts.size(), static_cast<std::size_t>(group.size()));
  for (int rank = 0; rank < group.size(); ++rank) {
    EXPECT_EQ(texts[static_cast<std::size_t>(rank)], text_of(rank));
    EXPECT_EQ(empty[static_cast<std::size_t>(rank)], "");
  }
}

void a_nan_on_one_rank_is_never_lost(Communicator& group) {
  for (const auto op : {ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax}) {
    for (int bad = 0; bad < group.size(); ++bad) {
      std::vector<double> values{1.0, 2.0};
      if (group.rank() == bad) values[1] = std::numeric_limits<double>::quiet_NaN();
      group.all_reduce(std::span<double>(values), op, "nan");
      EXPECT_EQ(values[0], op == ReduceOp::kSum ? group.size() : 1.0);
      EXPECT_TRUE(std::isnan(values[1])) << bad;
    }
  }
}

void integer_sums_wrap(Communicator& group) {
  std::array<std::int64_t, 1> value{std::numeric_limits<std::int64_t>::max()};
  group.all_reduce(std::span<std::int64_t>(value), ReduceOp::kSum, "overflow");

  const auto ranks = static_cast<std::uint64_t>(group.size());
  EXPECT_EQ(static_cast<std::uint64_t>(value[0]), ranks * ((std::uint64_t{1} << 63) - 1));
}

void exchange_passes_a_ring(Communicator& group) {
  const int next = (group.rank() + 1) % group.size();
  const int previous = (group.rank() + group.size() - 1) % group.size();
  for (const auto count : kSizes) {
    const auto out = bytes_of(group.rank(), count);
    Bytes in(count);
    const std::array sends{Send{next, out}};
    const std::array receives{Receive{previous, in}};
    group.exchange(sends, receives, "ring");
    ASSERT_EQ(in, bytes_of(previous, count)) << count;
  }
}

void exchange_keeps_the_order_of_each_pair(Communicator& group) {
  constexpr std::array<std::size_t, 4> kLengths{5, 0, 70000, 1};
  std::vector<Bytes> out;
  std::vector<Bytes> in;
  for (const auto length : kLengths) {
    out.push_back(bytes_of(group.rank(), length));
    for (int from = 0; from < group.size(); ++from) in.emplace_back(length);
  }
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (int other = group.size() - 1; other >= 0; --other) {
    for (std::size_t i = 0; i < kLengths.size(); ++i) {
      sends.push_back({other, out[i]});
      receives.push_back(
          {other,
           in[i * static_cast<std::size_t>(group.size()) + static_cast<std::size_t>(other)]});
    }
  }

  group.exchange(sends, receives, "all pairs");

  for (std::size_t i = 0; i < kLengths.size(); ++i) {
    for (int from = 0; from < group.size(); ++from) {
      ASSERT_EQ(in[i * static_cast<std::size_t>(group.size()) + static_cast<std::size_t>(from)],
                bytes_of(from, kLengths[i]));
    }
  }
}

void exchange_needs_only_the_ranks_that_have_messages(Communicator& group) {
  const int last = group.size() - 1;
  if (group.rank() == 0) {
    const auto out = bytes_of(0, 9);
    Bytes in(9);
    std::vector<Receive> receives;
    if (last == 0) receives.push_back({0, in});
    const std::array sends{Send{last, out}};
    group.exchange(sends, receives, "first to last");
    if (last == 0) {
      EXPECT_EQ(in, out);
    }
  } else if (group.rank() == last) {
    Bytes in(9);
    const std::array receives{Receive{0, in}};
    group.exchange({}, receives, "first to last");
    EXPECT_EQ(in, bytes_of(0, 9));
  }
  group.exchange({}, {}, "nothing");
  group.barrier("all are here again");
}

void split_groups_by_color_and_orders_by_key(Communicator& group) {
  const auto part = group.split(group.rank() % 2, -group.rank(), "parity, last first");

  ASSERT_NE(part, nullptr);
  const int odd = group.rank() % 2;
  const int members = (group.size() + 1 - odd) / 2;
  EXPECT_EQ(part->size(), members);
  EXPECT_EQ(part->rank(), members - 1 - group.rank() / 2);
  EXPECT_EQ(part->root_rank(), group.root_rank());
  EXPECT_EQ(part->deadline(), group.deadline());
  std::array<std::int64_t, 1> sum{group.rank()};
  part->all_reduce(std::span<std::int64_t>(sum), ReduceOp::kSum, "ranks of my parity");
  std::int64_t expected_sum = 0;
  for (int rank = odd; rank < group.size(); rank += 2) expected_sum += rank;
  EXPECT_EQ(sum[0], expected_sum);
  group.barrier("the parts live beside the whole");
}

void split_leaves_out_negative_colors_and_splits_again(Communicator& group) {
  const auto without_first = group.split(group.rank() == 0 ? -1 : 5, group.rank(), "all but one");
  EXPECT_EQ(without_first == nullptr, group.rank() == 0);
  if (without_first != nullptr) {
    const auto alone = without_first->split(without_first->rank(), 0, "each alone");
    EXPECT_EQ(alone->size(), 1);
    EXPECT_EQ(alone->root_rank(), group.root_rank());
    without_first->barrier("of the rest");
  }
  group.barrier("of all");
}

void check_is_silent_while_nothing_failed(Communicator& group) {
  EXPECT_NO_THROW(group.check());
  EXPECT_FALSE(group.failure().has_value());
}

constexpr std::array kContract{
    ContractCase{"BarrierHoldsEveryRankUntilTheLast", barrier_holds_every_rank_until_the_last},
    ContractCase{"BroadcastGivesEveryRankTheBytesOfTheRoot",
                 broadcast_gives_every_rank_the_bytes_of_the_root},
    ContractCase{"AllGatherPutsTheRanksInOrder", all_gather_puts_the_ranks_in_order},
    ContractCase{"AllGatherTextsKeepsLengthsAndZeroBytes",
                 all_gather_texts_keeps_lengths_and_zero_bytes},
    ContractCase{"FloatsReduceToTheReference", reduces_to_the_reference<float>},
    ContractCase{"DoublesReduceToTheReference", reduces_to_the_reference<double>},
    ContractCase{"IntegersReduceToTheReference", reduces_to_the_reference<std::int64_t>},
    ContractCase{"ANanOnOneRankIsNeverLost", a_nan_on_one_rank_is_never_lost},
    ContractCase{"IntegerSumsWrap", integer_sums_wrap},
    ContractCase{"ExchangePassesARing", exchange_passes_a_ring},
    ContractCase{"ExchangeKeepsTheOrderOfEachPair", exchange_keeps_the_order_of_each_pair},
    ContractCase{"ExchangeNeedsOnlyTheRanksThatHaveMessages",
                 exchange_needs_only_the_ranks_that_have_messages},
    ContractCase{"SplitGroupsByColorAndOrdersByKey", split_groups_by_color_and_orders_by_key},
    ContractCase{"SplitLeavesOutNegativeColorsAndSplitsAgain",
                 split_leaves_out_negative_colors_and_splits_again},
    ContractCase{"CheckIsSilentWhileNothingFailed", check_is_silent_while_nothing_failed},
};

}  // namespace

std::span<const ContractCase> contract_cases() { return kContract; }

}  // namespace lockstep::comm
