#pragma once
// Undoes the filters of a stored chunk without HDF5: deflate, shuffle, Fletcher-32, LZF, LZ4,
// Zstandard, Blosc. Internal to data/. A FilterPipeline belongs to one thread.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/stored_column.hpp"

namespace lockstep::data::detail {

/// Filters registered with The HDF Group ("Registered Filter Plugins").
inline constexpr int kFilterLzf = 32000;
inline constexpr int kFilterBlosc = 32001;
inline constexpr int kFilterLz4 = 32004;
inline constexpr int kFilterZstd = 32015;

bool is_known_filter(int id);

class FilterPipeline {
 public:
  /// `filters` in the order of writing; each is a known one.
  explicit FilterPipeline(std::vector<StoredFilter> filters);
  ~FilterPipeline();
  FilterPipeline(FilterPipeline&&) noexcept;
  FilterPipeline& operator=(FilterPipeline&&) noexcept;

  /// Fills `out`, a whole chunk, from its stored bytes. A bit of `mask` names a filter that was
  /// left out when the chunk was written. Returns what is wrong with the stored bytes, if anything.
  std::optional<std::string> decode(std::span<const std::byte> stored, std::uint32_t mask,
                                    std::span<std::byte> out);

 private:
  struct Buffers;
  std::vector<StoredFilter> filters_;
  std::unique_ptr<Buffers> buffers_;
};

/// Bytes of elements that were stored plane by plane (all first bytes, all second bytes, ...) put
/// together again; a rest that is no whole element is stored as it is.
void unshuffle(std::span<const std::byte> planes, std::size_t element_bytes,
               std::span<std::byte> out);

/// The checksum of HDF5's Fletcher32 filter (H5_checksum_fletcher32 of HDF5's H5checksum.c).
std::uint32_t fletcher32(std::span<const std::byte> bytes);

}  // namespace lockstep::data::detail
