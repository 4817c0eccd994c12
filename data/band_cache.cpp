#include "data/band_cache.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace lockstep::data::detail {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kPage = 4096;
constexpr std::uint64_t kReaderOne = 1;
constexpr std::uint64_t kReaders = (std::uint64_t{1} << 23) - 1;
constexpr std::uint64_t kBusy = std::uint64_t{1} << 23;
constexpr int kBandShift = 24;

std::uint64_t tag_of(std::int64_t band) {
  return static_cast<std::uint64_t>(band + 1) << kBandShift;
}

std::size_t rounded(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

std::size_t header_bytes(std::int64_t places) {
  return rounded(kLine + static_cast<std::size_t>(places) * 2 * sizeof(std::uint64_t), kPage);
}

std::size_t stride_of(std::size_t band_bytes) { return rounded(band_bytes, kLine); }

}  // namespace

std::size_t BandCacheShape::bytes() const {
  const auto places = fixed + ring;
  if (places == 0) return 0;
  return header_bytes(places) + static_cast<std::size_t>(places) * stride_of(band_bytes);
}

BandCacheShape shape_band_cache(std::int64_t bands, std::size_t band_bytes, std::size_t budget,
                                std::int64_t ring) {
  BandCacheShape shape{.bands = bands, .band_bytes = band_bytes, .fixed = bands};
  if (band_bytes == 0 || bands == 0) return {};
  if (shape.bytes() <= budget) return shape;
  const auto fitting = [&] {
    const auto each = stride_of(band_bytes) + 2 * sizeof(std::uint64_t);
    const auto room = budget > kPage + kLine ? budget - kPage - kLine : 0;
    return static_cast<std::int64_t>(room / each);
  }();
  shape.ring = std::min(rounded(static_cast<std::size_t>(ring), kBandWays),
                        static_cast<std::size_t>(fitting) / kBandWays * kBandWays);
  shape.fixed = std::min(bands, fitting - shape.ring);
  return shape;
}

BandCache::BandCache(const BandCacheShape& shape, std::span<std::byte> memory) : shape_(shape) {
  LOCKSTEP_EXPECT(memory.size() >= shape.bytes(), "a cache of decoded rows has too little memory");
  if (memory.empty() || shape.bytes() == 0) {
    shape_.fixed = shape_.ring = 0;
    return;
  }
  // Zeroed memory is a cache without bands.
  clock_ = reinterpret_cast<std::atomic<std::uint64_t>*>(memory.data());
  slots_ = reinterpret_cast<Slot*>(memory.data() + kLine);
  bands_ = memory.data() + header_bytes(shape_.fixed + shape_.ring);
}

BandCache::Place BandCache::place_at(std::int64_t index, Hold hold) const {
  return {hold, bands_ + static_cast<std::size_t>(index) * stride_of(shape_.band_bytes), index};
}

/// Neighbouring bands go to different sets; a window of random bands fills them evenly enough.
std::int64_t BandCache::first_of_set(std::int64_t band) const {
  return shape_.fixed + band % (shape_.ring / kBandWays) * kBandWays;
}

BandCache::Place BandCache::take(std::int64_t band) {
  if (band < shape_.fixed) return take_fixed(band);
  if (shape_.ring > 0) return take_from_ring(band);
  return {};
}

const std::byte* BandCache::expected_at(std::int64_t band) const {
  if (band >= shape_.fixed) return nullptr;
  __builtin_prefetch(&slots_[band]);
  return place_at(band, Hold::kNone).bytes;
}

BandCache::Place BandCache::find(std::int64_t band) {
  auto hold = Hold::kNone;
  const bool fixed = band < shape_.fixed;
  if (!fixed && shape_.ring == 0) return {};
  const auto first = fixed ? band : first_of_set(band);
  for (auto i = first; i < first + (fixed ? 1 : kBandWays); ++i) {
    if (try_read(slots_[i], band, hold)) return hold == Hold::kRead ? place_at(i, hold) : Place{};
  }
  return {};
}

/// Holds the slot for reading when it has the band. False when it has another one.
bool BandCache::try_read(Slot& slot, std::int64_t band, Hold& hold) {
  auto word = slot.word.load(std::memory_order_acquire);
  while ((word & ~(kReaders | kBusy)) == tag_of(band)) {
    if ((word & kBusy) != 0) {
      hold = Hold::kBusy;
      return true;
    }
    if (slot.word.compare_exchange_weak(word, word + kReaderOne, std::memory_order_acquire)) {
      hold = Hold::kRead;
      return true;
    }
  }
  return false;
}

BandCache::Place BandCache::take_fixed(std::int64_t band) {
  auto& slot = slots_[band];
  auto hold = Hold::kNone;
  if (try_read(slot, band, hold)) return place_at(band, hold);
  std::uint64_t empty = 0;
  if (slot.word.compare_exchange_strong(empty, tag_of(band) | kBusy, std::memory_order_acquire)) {
    return place_at(band, Hold::kFill);
  }
  // Somebody came first.
  return try_read(slot, band, hold) ? place_at(band, hold) : Place{};
}

BandCache::Place BandCache::take_from_ring(std::int64_t band) {
  const auto first = first_of_set(band);
  const auto now = clock_->fetch_add(1, std::memory_order_relaxed);
  std::int64_t oldest = -1;
  for (auto i = first; i < first + kBandWays; ++i) {
    auto hold = Hold::kNone;
    if (try_read(slots_[i], band, hold)) {
      slots_[i].used.store(now, std::memory_order_relaxed);
      return place_at(i, hold);
    }
    const auto word = slots_[i].word.load(std::memory_order_relaxed);
    if ((word & (kReaders | kBusy)) != 0) continue;
    if (oldest < 0 || slots_[i].used.load(std::memory_order_relaxed) <
                          slots_[oldest].used.load(std::memory_order_relaxed)) {
      oldest = i;
    }
  }
  if (oldest < 0) return {};
  auto& slot = slots_[oldest];
  auto word = slot.word.load(std::memory_order_relaxed);
  // Two that want the same band at once may both fill a place; that costs time alone.
  if ((word & (kReaders | kBusy)) != 0 ||
      !slot.word.compare_exchange_strong(word, tag_of(band) | kBusy, std::memory_order_acquire)) {
    return {};
  }
  slot.used.store(now, std::memory_order_relaxed);
  return place_at(oldest, Hold::kFill);
}

void BandCache::publish(Place& place) {
  auto& word = slots_[place.index].word;
  const auto tag = word.load(std::memory_order_relaxed) & ~(kReaders | kBusy);
  word.store(tag | kReaderOne, std::memory_order_release);
  place.hold = Hold::kRead;
}

void BandCache::abandon(const Place& place) {
  slots_[place.index].word.store(0, std::memory_order_release);
}

void BandCache::release(const Place& place) {
  slots_[place.index].word.fetch_sub(kReaderOne, std::memory_order_release);
}

}  // namespace lockstep::data::detail
