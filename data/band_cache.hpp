#pragma once
// Decoded bands of rows in memory that several processes may share, so that a node decodes each
// band once. Internal to data/. Any thread and any process may use one memory at the same time.
//
// The first bands of a column have a place of their own, for good: under a shuffle over more than
// fits, no other choice of bands is hit more often, and under one that fits nothing is ever decoded
// twice. The rest take turns in a few sets of places ("ring"), for orders that stay within a
// window.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace lockstep::data::detail {

struct BandCacheShape {
  std::int64_t bands = 0;  ///< of the column
  std::size_t band_bytes = 0;
  std::int64_t fixed = 0;  ///< bands with a place of their own
  std::int64_t ring = 0;   ///< places that the others share, a multiple of kBandWays

  std::size_t bytes() const;
};

inline constexpr std::int64_t kBandWays = 8;

/// The best use of `budget` bytes; `ring` places are wanted for bands that have none of their own.
BandCacheShape shape_band_cache(std::int64_t bands, std::size_t band_bytes, std::size_t budget,
                                std::int64_t ring);

class BandCache {
 public:
  BandCache() = default;
  /// `memory`: shape.bytes() zeroed bytes at a cache line, which outlive it.
  BandCache(const BandCacheShape& shape, std::span<std::byte> memory);

  enum class Hold {
    kNone,  ///< no place for this band now
    kBusy,  ///< somebody decodes it at this moment
    kFill,  ///< the caller fills `bytes`, then calls `publish` or `abandon`
    kRead,  ///< `bytes` holds the band until `release`
  };
  struct Place {
    Hold hold = Hold::kNone;
    std::byte* bytes = nullptr;
    std::int64_t index = -1;
  };

  Place take(std::int64_t band);
  /// The band to read if it is there at this moment; else kNone.
  Place find(std::int64_t band);
  /// Where the band would be, for prefetching; nullptr when that takes a search. Asks for its slot.
  const std::byte* expected_at(std::int64_t band) const;
  /// The filled band can be read by all; the caller still holds it, for reading.
  void publish(Place& place);
  void abandon(const Place& place);
  void release(const Place& place);

 private:
  /// In shared memory. `word`: band + 1 (40 bits), busy (1 bit), readers (23 bits).
  struct Slot {
    std::atomic<std::uint64_t> word;
    std::atomic<std::uint64_t> used;  ///< the clock when it was last taken
  };
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

  bool try_read(Slot& slot, std::int64_t band, Hold& hold);
  std::int64_t first_of_set(std::int64_t band) const;
  Place take_fixed(std::int64_t band);
  Place take_from_ring(std::int64_t band);
  Place place_at(std::int64_t index, Hold hold) const;

  BandCacheShape shape_;
  std::atomic<std::uint64_t>* clock_ = nullptr;
  Slot* slots_ = nullptr;
  std::byte* bands_ = nullptr;
};

}  // namespace lockstep::data::detail
