#include "trainer/kept_state.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <new>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/vector_clones.hpp"
#include "trainer/stream_copy.hpp"

namespace lockstep::trainer {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kMetadataBytes = std::size_t{64} << 10;
constexpr std::int64_t kNever = -1;
constexpr std::array<char, 8> kMagic{'L', 'K', 'S', 'T', 'A', 'T', 'E', '2'};

/// Undo areas of this size and more are written past the cache.
constexpr std::size_t kPastCache = std::size_t{4} << 20;

std::size_t pages(std::size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

/// Wrapping sum of the values' bits: finds what a crash scribbled, in a pass at cache speed.
LOCKSTEP_VECTOR_CLONES
std::uint64_t bit_sum(const float* values, std::int64_t count) {
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, values + i, sizeof bits);
    sum += bits;
  }
  return sum;
}

/// Stores before this are in memory, for whoever looks after a crash, when those after it are.
void order() { std::atomic_thread_fence(std::memory_order_release); }

}  // namespace

struct KeptState::Header {
  std::array<char, 8> magic;
  std::array<char, 64> identity;  // SHA-256 of the shape's, in hexadecimal
  std::atomic<std::uint32_t> ready;
};

struct KeptState::Stamp {
  std::atomic<std::int64_t> done;      // finished steps of the live values, when none is under way
  std::atomic<std::int64_t> undo;      // finished steps of the undo area, kNever = it holds nothing
  std::atomic<std::int64_t> saved;     // elements from the block's begin that are in it
  std::atomic<std::int64_t> area;      // the undo area
  std::array<std::uint64_t, 2> sums;   // of the block after an even and an odd number of steps
  std::array<std::byte, 16> padding_;  // a cache line a block: its rank's alone
};

struct KeptState::Slot {
  std::atomic<std::int64_t> step;
  std::uint64_t serial;  // of metadata: the larger one was written later
  std::uint64_t bytes;
  std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
};

struct KeptState::Places {
  std::size_t stamps, counters, counter_bytes, metadata, metadata_bytes;
  std::array<std::vector<std::size_t>, 2> undo;  // of each area: the flat region's, the states'
  std::size_t end;
  FlatRange undone;
};

/// Element 0 of the flat region, and of each state, would lie in its page as it does in its file.
KeptState::Places KeptState::places(const KeptShape& shape) {
  Places places{};
  if (shape.held_blocks.count() > 0) {
    places.undone = {shape.blocks[static_cast<std::size_t>(shape.held_blocks.begin)].begin,
                     shape.blocks[static_cast<std::size_t>(shape.held_blocks.end) - 1].end};
  }
  static_assert(sizeof(Header) <= kPage);
  std::size_t at = kPage;
  const auto take = [&](std::size_t bytes) {
    const auto begin = at;
    at += pages(bytes);
    return begin;
  };
  const auto bytes_of = [](std::int64_t floats) {
    return static_cast<std::size_t>(floats) * sizeof(float);
  };
  places.stamps = take(shape.blocks.size() * sizeof(Stamp));
  places.counter_bytes =
      pages(sizeof(Slot) + static_cast<std::size_t>(shape.counter_count) * sizeof(std::int64_t));
  places.counters = take(2 * places.counter_bytes);
  places.metadata_bytes = pages(sizeof(Slot) + kMetadataBytes);
  places.metadata = take(2 * places.metadata_bytes);
  const auto take_floats = [&](std::int64_t before, std::int64_t count) {
    const auto shift = bytes_of(before + places.undone.begin) % kPage;
    return take(shift + bytes_of(count)) + shift;
  };
  const auto parameters = std::max(
      std::int64_t{0}, std::min(places.undone.end, shape.parameter_count) - places.undone.begin);
  for (std::size_t area = 0; area < (shape.holds ? 2U : 1U); ++area) {
    places.undo[area].push_back(take_floats(0, places.undone.count()));
    for (std::size_t i = 0; i < shape.states; ++i) {
      const auto before = static_cast<std::int64_t>(i) * shape.parameter_count;
      places.undo[area].push_back(take_floats(before, parameters));
    }
  }
  places.end = at;
  return places;
}

std::size_t KeptState::bytes_needed(const KeptShape& shape) { return places(shape).end; }

KeptState::KeptState(KeptShape shape, LiveState live, std::span<std::byte> memory)
    : shape_(std::move(shape)), live_(std::move(live)), memory_(memory.data()) {
  const auto place = places(shape_);
  LOCKSTEP_EXPECT(memory.size() >= place.end, "too little memory to keep a state in");
  stamps_ = reinterpret_cast<Stamp*>(memory_ + place.stamps);
  for (std::size_t i = 0; i < 2; ++i) {
    counters_[i] = reinterpret_cast<Slot*>(memory_ + place.counters + i * place.counter_bytes);
    metadata_[i] = reinterpret_cast<Slot*>(memory_ + place.metadata + i * place.metadata_bytes);
  }
  undone_ = place.undone;
  for (std::size_t area = 0; area < 2; ++area) {
    for (const auto at : place.undo[area]) {
      auto* zero = reinterpret_cast<float*>(memory_ + at) - undone_.begin;
      if (undo_[area].flat == nullptr) {
        undo_[area].flat = zero;
      } else {
        undo_[area].states.push_back(zero);
      }
    }
  }
  past_cache_ =
      static_cast<std::size_t>(undone_.count()) * sizeof(float) * (1 + shape_.states) >= kPastCache;
}

KeptState::Slot& KeptState::counter_slot(std::int64_t step) const {
  return *counters_[static_cast<std::size_t>(step % 2)];
}

bool KeptState::holds_state() const {
  const auto& header = *reinterpret_cast<const Header*>(memory_);
  const auto identity = base::sha256_hex(std::string_view(shape_.identity));
  return header.magic == kMagic && header.ready.load(std::memory_order_acquire) == 1 &&
         std::string_view(header.identity.data(), header.identity.size()) == identity;
}

void KeptState::invalidate() {
  auto& header = *reinterpret_cast<Header*>(memory_);
  header.ready.store(0, std::memory_order_release);
  const auto identity = base::sha256_hex(std::string_view(shape_.identity));
  std::copy_n(identity.begin(), header.identity.size(), header.identity.begin());
  header.magic = kMagic;
  for (std::int64_t slot = 0; slot < 2; ++slot) {
    counter_slot(slot).step.store(kNever);
    metadata_[static_cast<std::size_t>(slot)]->step.store(kNever);
  }
}

void KeptState::stamp(std::int64_t block, std::int64_t step) {
  auto& stamp = stamps_[block];
  stamp.undo.store(kNever);
  stamp.sums[static_cast<std::size_t>(step % 2)] =
      sum_of(shape_.blocks[static_cast<std::size_t>(block)]);
  stamp.done.store(step);
}

void KeptState::start(std::int64_t step, std::span<const std::int64_t> counters,
                      std::string_view metadata) {
  keep_counters(step, counters);
  keep_metadata(step, metadata);
  order();
  reinterpret_cast<Header*>(memory_)->ready.store(1, std::memory_order_release);
}

void KeptState::open(std::int64_t block, std::int64_t step) {
  auto& stamp = stamps_[block];
  LOCKSTEP_EXPECT(open_block_ < 0, "a block is open already");
  open_block_ = block;
  open_sum_ = 0;
  stamp.undo.store(kNever, std::memory_order_relaxed);
  order();
  stamp.saved.store(0, std::memory_order_relaxed);
  stamp.area.store(static_cast<std::int64_t>(area_), std::memory_order_relaxed);
  order();
  stamp.undo.store(step, std::memory_order_relaxed);
  order();
}

void KeptState::save(FlatRange part) {
  copy(part, Way::kToUndo, area_);
  order();
  const auto begin = shape_.blocks[static_cast<std::size_t>(open_block_)].begin;
  stamps_[open_block_].saved.store(part.end - begin, std::memory_order_relaxed);
  order();
}

void KeptState::add(FlatRange part) { open_sum_ += sum_of(part); }

void KeptState::close(std::int64_t block, std::int64_t step) {
  LOCKSTEP_EXPECT(open_block_ == block, "another block is open");
  auto& stamp = stamps_[block];
  stamp.sums[static_cast<std::size_t>((step + 1) % 2)] = open_sum_;
  order();
  stamp.done.store(step + 1, std::memory_order_release);
  open_block_ = -1;
}

void KeptState::keep_counters(std::int64_t step, std::span<const std::int64_t> counters) {
  auto& slot = counter_slot(step);
  slot.step.store(kNever, std::memory_order_relaxed);
  order();
  slot.bytes = counters.size_bytes();
  std::memcpy(slot.data(), counters.data(), counters.size_bytes());
  order();
  slot.step.store(step, std::memory_order_relaxed);
  order();
}

void KeptState::keep_metadata(std::int64_t step, std::string_view metadata) {
  LOCKSTEP_EXPECT(metadata.size() <= kMetadataBytes, "metadata too long to keep in memory");
  const bool first_is_older = metadata_[0]->serial <= metadata_[1]->serial;
  auto& slot = *metadata_[first_is_older ? 0 : 1];
  slot.step.store(kNever, std::memory_order_relaxed);
  order();
  slot.serial = metadata_[first_is_older ? 1 : 0]->serial + 1;
  slot.bytes = metadata.size();
  std::memcpy(slot.data(), metadata.data(), metadata.size());
  order();
  slot.step.store(step, std::memory_order_relaxed);
  order();
}

std::optional<KeptState::Finished> KeptState::finished(FlatRange blocks) const {
  std::optional<Finished> result;
  for (auto block = blocks.begin; block < blocks.end; ++block) {
    const auto done = stamps_[block].done.load(std::memory_order_acquire);
    if (!result) result = Finished{done, done};
    result->least = std::min(result->least, done);
    result->most = std::max(result->most, done);
  }
  return result;
}

bool KeptState::bring_to(std::int64_t block, std::int64_t step) {
  auto& stamp = stamps_[block];
  const auto range = shape_.blocks[static_cast<std::size_t>(block)];
  if (stamp.undo.load(std::memory_order_acquire) == step) {
    const auto saved = stamp.saved.load(std::memory_order_acquire);
    const auto area = static_cast<std::size_t>(stamp.area.load(std::memory_order_acquire));
    if (saved < 0 || saved > range.count() || area > (shape_.holds ? 1U : 0U)) return false;
    copy({range.begin, range.begin + saved}, Way::kToLive, area);
  } else if (stamp.done.load(std::memory_order_acquire) != step) {
    return false;
  }
  if (sum_of(range) != stamp.sums[static_cast<std::size_t>(step % 2)]) return false;
  // Its undo area still holds the same, should this attempt end before the next update.
  stamp.done.store(step, std::memory_order_release);
  return true;
}

std::optional<std::vector<std::int64_t>> KeptState::counters(std::int64_t step) const {
  auto& slot = counter_slot(step);
  const auto bytes = static_cast<std::size_t>(shape_.counter_count) * sizeof(std::int64_t);
  if (slot.step.load(std::memory_order_acquire) != step || slot.bytes != bytes) return std::nullopt;
  std::vector<std::int64_t> counters(static_cast<std::size_t>(shape_.counter_count));
  std::memcpy(counters.data(), slot.data(), bytes);
  return counters;
}

std::string KeptState::metadata(std::int64_t step) const {
  Slot* newest = nullptr;
  for (auto* slot : metadata_) {
    const auto of = slot->step.load(std::memory_order_acquire);
    if (of < 0 || of > step) continue;
    if (newest == nullptr || slot->serial > newest->serial) newest = slot;
  }
  if (newest == nullptr || newest->bytes > kMetadataBytes) return {};
  return {reinterpret_cast<const char*>(newest->data()), newest->bytes};
}

std::uint64_t KeptState::sum_of(FlatRange part) const {
  auto sum = bit_sum(live_.flat + part.begin, part.count());
  if (part.begin >= shape_.parameter_count) return sum;
  for (const auto* state : live_.states) sum += bit_sum(state + part.begin, part.count());
  return sum;
}

void KeptState::copy(FlatRange part, Way way, std::size_t area) {
  for_each_buffer(area, [&](float* live, float* undo, std::int64_t end) {
    if (part.begin >= end) return;
    float* from = (way == Way::kToUndo ? live : undo) + part.begin;
    float* to = (way == Way::kToUndo ? undo : live) + part.begin;
    const auto bytes = static_cast<std::size_t>(part.count()) * sizeof(float);
    if (way == Way::kToUndo && past_cache_) {
      stream_copy(reinterpret_cast<std::byte*>(to), reinterpret_cast<const std::byte*>(from),
                  bytes);
    } else {
      std::memcpy(to, from, bytes);
    }
  });
}

template <typename Each>
void KeptState::for_each_buffer(std::size_t area, const Each& each) const {
  each(live_.flat, undo_[area].flat, undone_.end);
  for (std::size_t i = 0; i < live_.states.size(); ++i) {
    each(live_.states[i], undo_[area].states[i], std::min(undone_.end, shape_.parameter_count));
  }
}

void KeptState::hold() {
  LOCKSTEP_EXPECT(shape_.holds, "a state to hold without room for it");
  to_hold_ = true;
}

void KeptState::end_update() {
  if (past_cache_) end_streams();
  if (!to_hold_) return;
  to_hold_ = false;
  area_ = 1 - area_;
}

void KeptState::end_hold(FlatRange blocks) {
  if (!to_hold_) return;
  to_hold_ = false;
  for (auto block = blocks.begin; block < blocks.end; ++block) {
    copy(shape_.blocks[static_cast<std::size_t>(block)], Way::kToUndo, 1 - area_);
  }
  end_streams();
}

std::optional<std::span<const std::byte>> KeptState::held(std::span<const std::byte> live) const {
  const std::less_equal<const void*> not_after;
  std::optional<std::span<const std::byte>> found;
  for_each_buffer(1 - area_, [&](const float* from, const float* undo, std::int64_t end) {
    const auto* begin = reinterpret_cast<const std::byte*>(from + undone_.begin);
    const auto* last = reinterpret_cast<const std::byte*>(from + end);
    if (!not_after(begin, live.data()) || !not_after(live.data() + live.size(), last)) return;
    const auto* copy = reinterpret_cast<const std::byte*>(undo + undone_.begin);
    found = std::span(copy + (live.data() - begin), live.size());
  });
  return found;
}

void KeptState::prepare_hold(FlatRange blocks) const {
  if (blocks.count() == 0) return;
  const auto first = shape_.blocks[static_cast<std::size_t>(blocks.begin)].begin;
  const auto last = shape_.blocks[static_cast<std::size_t>(blocks.end) - 1].end;
  for_each_buffer(1, [&](float*, float* undo, std::int64_t end) {
    if (first >= end) return;
    auto* begin = reinterpret_cast<std::byte*>(undo + first);
    begin -= reinterpret_cast<std::uintptr_t>(begin) % kPage;
    populate({begin, reinterpret_cast<std::byte*>(undo + std::min(last, end))});
  });
}

}  // namespace lockstep::trainer
