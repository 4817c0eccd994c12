#include "data/filters.hpp"

#include <blosc.h>
#include <hdf5.h>
#include <libdeflate.h>
#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/vector_clones.hpp"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace lockstep::data::detail {
namespace {

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;

/// What undoing one filter gave: how many bytes, or what is wrong.
struct Undone {
  std::size_t bytes = 0;
  const char* problem = nullptr;
};

constexpr std::size_t kFletcherBytes = 4;

std::uint32_t big_endian_32(const std::byte* bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | std::to_integer<std::uint32_t>(bytes[i]);
  return value;
}

std::uint64_t big_endian_64(const std::byte* bytes) {
  return std::uint64_t{big_endian_32(bytes)} << 32 | big_endian_32(bytes + 4);
}

/// Layout of the registered filter 32004: size of all (8 bytes), size of a block (4), then for each
/// block its stored size (4) and bytes; a block that did not shrink is stored as it is.
Undone undo_lz4(ConstBytes in, Bytes out) {
  constexpr std::size_t kHeader = 12;
  constexpr std::size_t kBlockHeader = 4;
  if (in.size() < kHeader) return {.problem = "an LZ4 chunk without a header"};
  const auto total = big_endian_64(in.data());
  const std::uint64_t block = std::min<std::uint64_t>(big_endian_32(in.data() + 8), total);
  if (total > out.size() || (block == 0 && total > 0)) {
    return {.problem = "an LZ4 chunk of another size"};
  }
  in = in.subspan(kHeader);
  for (std::uint64_t done = 0; done < total;) {
    const auto wanted = std::min(block, total - done);
    if (in.size() < kBlockHeader) return {.problem = "an LZ4 chunk that ends early"};
    const std::size_t stored = big_endian_32(in.data());
    in = in.subspan(kBlockHeader);
    if (stored > in.size()) return {.problem = "an LZ4 chunk that ends early"};
    auto* to = out.data() + done;
    if (stored == wanted) {
      std::memcpy(to, in.data(), stored);
    } else if (LZ4_decompress_safe(reinterpret_cast<const char*>(in.data()),
                                   reinterpret_cast<char*>(to), static_cast<int>(stored),
                                   static_cast<int>(wanted)) != static_cast<int>(wanted)) {
      return {.problem = "bytes that LZ4 cannot unpack"};
    }
    in = in.subspan(stored);
    done += wanted;
  }
  return {.bytes = total};
}

/// The format of M. Lehmann's LibLZF, whose own decoder reads beyond damaged input: a byte below 32
/// is followed by that many literals and one; above, its upper 3 bits are the length of a match
/// less 2 (7: a byte more is added), its lower 5 and the next byte the distance less 1.
Undone undo_lzf(ConstBytes in, Bytes out) {
  constexpr unsigned kLiterals = 32;
  constexpr unsigned kLongMatch = 7;
  constexpr Undone kDamaged{.problem = "bytes that LZF cannot unpack"};
  std::size_t at = 0;
  std::size_t done = 0;
  const auto next = [&] { return std::to_integer<unsigned>(in[at++]); };
  while (at < in.size()) {
    const auto control = next();
    if (control < kLiterals) {
      const std::size_t count = control + 1;
      if (count > in.size() - at || count > out.size() - done) return kDamaged;
      std::memcpy(out.data() + done, in.data() + at, count);
      at += count;
      done += count;
      continue;
    }
    std::size_t length = control >> 5;
    if (in.size() - at < (length == kLongMatch ? 2 : 1)) return kDamaged;
    if (length == kLongMatch) length += next();
    length += 2;
    const std::size_t distance = ((control & 31u) << 8 | next()) + 1;
    if (distance > done || length > out.size() - done) return kDamaged;
    // A match may overlap what it makes, so it goes byte by byte.
    for (std::size_t i = 0; i < length; ++i, ++done) out[done] = out[done - distance];
  }
  return {.bytes = done};
}

Undone undo_blosc(ConstBytes in, Bytes out) {
  std::size_t bytes = 0;
  if (blosc_cbuffer_validate(in.data(), in.size(), &bytes) != 0 || bytes > out.size() ||
      blosc_decompress_ctx(in.data(), out.data(), out.size(), 1) != static_cast<int>(bytes)) {
    return {.problem = "bytes that Blosc cannot unpack"};
  }
  return {.bytes = bytes};
}

Undone check_fletcher(ConstBytes in) {
  if (in.size() < kFletcherBytes) return {.problem = "no room for a checksum"};
  const auto body = in.first(in.size() - kFletcherBytes);
  std::uint32_t stored = 0;
  for (int i = 3; i >= 0; --i) stored = stored << 8 | std::to_integer<std::uint32_t>(body.end()[i]);
  const auto sum = fletcher32(body);
  // HDF5 before 1.6.3 wrote both halves with their bytes exchanged, and HDF5 accepts that still.
  const auto former = (sum & 0x00ff00ff) << 8 | (sum >> 8 & 0x00ff00ff);
  if (stored != sum && stored != former) return {.problem = "a wrong Fletcher-32 checksum"};
  return {.bytes = body.size()};
}

struct FreeInflater {
  void operator()(libdeflate_decompressor* one) const { libdeflate_free_decompressor(one); }
};
struct FreeZstd {
  void operator()(ZSTD_DCtx* one) const { ZSTD_freeDCtx(one); }
};

/// Enough words that a block's sums of sums fit 32 bits (HDF5 folds each 360 words
/// for the same reason).
constexpr std::size_t kLanes = 32;
constexpr std::size_t kRounds = 360;

struct LaneSums {
  std::array<std::uint32_t, kLanes> first{};
  std::array<std::uint32_t, kLanes> second{};
};

LOCKSTEP_VECTOR_CLONES
void sum_lanes(const std::uint8_t* bytes, std::size_t rounds, LaneSums& sums) {
  for (std::size_t round = 0; round < rounds; ++round) {
    const auto* words = bytes + round * 2 * kLanes;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const std::uint32_t word = static_cast<std::uint32_t>(words[2 * lane]) << 8 |
                                 static_cast<std::uint32_t>(words[2 * lane + 1]);
      sums.second[lane] += sums.first[lane];
      sums.first[lane] += word;
    }
  }
}

void unshuffle_tail(const std::byte* planes, std::size_t begin, std::size_t elements,
                    std::size_t element_bytes, std::byte* out) {
  for (std::size_t i = begin; i < elements; ++i) {
    for (std::size_t plane = 0; plane < element_bytes; ++plane) {
      out[i * element_bytes + plane] = planes[plane * elements + i];
    }
  }
}

#ifdef __SSE2__
constexpr std::size_t kVector = 16;

__m128i load(const std::byte* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}
void store(std::byte* to, __m128i value) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), value);
}

/// 16 elements of 2, 4 or 8 bytes: neighbouring planes are interleaved, then pairs, then fours.
std::size_t unshuffle_2(const std::byte* planes, std::size_t elements, std::byte* out) {
  std::size_t i = 0;
  for (; i + kVector <= elements; i += kVector) {
    const auto a = load(planes + i);
    const auto b = load(planes + elements + i);
    store(out + 2 * i, _mm_unpacklo_epi8(a, b));
    store(out + 2 * i + kVector, _mm_unpackhi_epi8(a, b));
  }
  return i;
}

struct Four {
  __m128i quarter[4];  // NOLINT: std::array drops the type's alignment attribute
};

Four interleave_4(const std::byte* planes, std::size_t elements, std::size_t i) {
  const auto a = load(planes + i);
  const auto b = load(planes + elements + i);
  const auto c = load(planes + 2 * elements + i);
  const auto d = load(planes + 3 * elements + i);
  const auto ab_low = _mm_unpacklo_epi8(a, b);
  const auto ab_high = _mm_unpackhi_epi8(a, b);
  const auto cd_low = _mm_unpacklo_epi8(c, d);
  const auto cd_high = _mm_unpackhi_epi8(c, d);
  return {{_mm_unpacklo_epi16(ab_low, cd_low), _mm_unpackhi_epi16(ab_low, cd_low),
           _mm_unpacklo_epi16(ab_high, cd_high), _mm_unpackhi_epi16(ab_high, cd_high)}};
}

std::size_t unshuffle_4(const std::byte* planes, std::size_t elements, std::byte* out) {
  std::size_t i = 0;
  for (; i + kVector <= elements; i += kVector) {
    const auto four = interleave_4(planes, elements, i);
    for (std::size_t part = 0; part < 4; ++part) {
      store(out + 4 * i + part * kVector, four.quarter[part]);
    }
  }
  return i;
}

std::size_t unshuffle_8(const std::byte* planes, std::size_t elements, std::byte* out) {
  std::size_t i = 0;
  for (; i + kVector <= elements; i += kVector) {
    const auto low = interleave_4(planes, elements, i);
    const auto high = interleave_4(planes + 4 * elements, elements, i);
    for (std::size_t part = 0; part < 4; ++part) {
      auto* to = out + 8 * i + 2 * part * kVector;
      store(to, _mm_unpacklo_epi32(low.quarter[part], high.quarter[part]));
      store(to + kVector, _mm_unpackhi_epi32(low.quarter[part], high.quarter[part]));
    }
  }
  return i;
}

std::size_t unshuffle_vectors(const std::byte* planes, std::size_t elements,
                              std::size_t element_bytes, std::byte* out) {
  switch (element_bytes) {
    case 2: return unshuffle_2(planes, elements, out);
    case 4: return unshuffle_4(planes, elements, out);
    case 8: return unshuffle_8(planes, elements, out);
    default: return 0;
  }
}
#else
std::size_t unshuffle_vectors(const std::byte*, std::size_t, std::size_t, std::byte*) { return 0; }
#endif

}  // namespace

bool is_known_filter(int id) {
  switch (id) {
    case H5Z_FILTER_DEFLATE:
    case H5Z_FILTER_SHUFFLE:
    case H5Z_FILTER_FLETCHER32:
    case kFilterLzf:
    case kFilterBlosc:
    case kFilterLz4:
    case kFilterZstd: return true;
    default: return false;
  }
}

struct FilterPipeline::Buffers {
  std::array<std::vector<std::byte>, 2> scratch;
  std::unique_ptr<libdeflate_decompressor, FreeInflater> inflater;
  std::unique_ptr<ZSTD_DCtx, FreeZstd> zstd;

  Undone inflate(ConstBytes in, Bytes out) {
    if (!inflater) inflater.reset(libdeflate_alloc_decompressor());
    std::size_t bytes = 0;
    const auto result = libdeflate_zlib_decompress(inflater.get(), in.data(), in.size(), out.data(),
                                                   out.size(), &bytes);
    if (result != LIBDEFLATE_SUCCESS) return {.problem = "bytes that deflate cannot unpack"};
    return {.bytes = bytes};
  }

  Undone undo_zstd(ConstBytes in, Bytes out) {
    if (!zstd) zstd.reset(ZSTD_createDCtx());
    const auto bytes =
        ZSTD_decompressDCtx(zstd.get(), out.data(), out.size(), in.data(), in.size());
    if (ZSTD_isError(bytes) != 0) return {.problem = "bytes that Zstandard cannot unpack"};
    return {.bytes = bytes};
  }

  Undone undo(const StoredFilter& filter, ConstBytes in, Bytes out) {
    switch (filter.id) {
      case H5Z_FILTER_DEFLATE: return inflate(in, out);
      case H5Z_FILTER_SHUFFLE:
        if (in.size() > out.size()) return {.problem = "a chunk of another size"};
        unshuffle(in, filter.parameters.empty() ? 1 : filter.parameters[0], out.first(in.size()));
        return {.bytes = in.size()};
      case kFilterLzf: return undo_lzf(in, out);
      case kFilterBlosc: return undo_blosc(in, out);
      case kFilterLz4: return undo_lz4(in, out);
      default: return undo_zstd(in, out);
    }
  }
};

FilterPipeline::FilterPipeline(std::vector<StoredFilter> filters)
    : filters_(std::move(filters)), buffers_(std::make_unique<Buffers>()) {}
FilterPipeline::~FilterPipeline() = default;
FilterPipeline::FilterPipeline(FilterPipeline&&) noexcept = default;
FilterPipeline& FilterPipeline::operator=(FilterPipeline&&) noexcept = default;

std::optional<std::string> FilterPipeline::decode(std::span<const std::byte> stored,
                                                  std::uint32_t mask, std::span<std::byte> out) {
  // What one filter wrote for the next can be a little larger than the chunk.
  const auto most = out.size() + out.size() / 8 + 4096;
  auto current = stored;
  std::size_t next_scratch = 0;
  for (auto i = filters_.size(); i-- > 0;) {
    if ((mask >> i & 1) != 0) continue;
    const auto& filter = filters_[i];
    if (filter.id == H5Z_FILTER_FLETCHER32) {
      const auto checked = check_fletcher(current);
      if (checked.problem != nullptr) return checked.problem;
      current = current.first(checked.bytes);
      continue;
    }
    auto to = out;
    if (i > 0) {
      auto& scratch = buffers_->scratch[next_scratch];
      next_scratch ^= 1;
      if (scratch.size() < most) scratch.resize(most);
      to = scratch;
    }
    const auto undone = buffers_->undo(filter, current, to);
    if (undone.problem != nullptr) return undone.problem;
    current = to.first(undone.bytes);
  }
  if (current.size() != out.size()) {
    return "a chunk of " + std::to_string(current.size()) + " bytes instead of " +
           std::to_string(out.size());
  }
  if (current.data() != out.data()) std::memcpy(out.data(), current.data(), out.size());
  return std::nullopt;
}

void unshuffle(std::span<const std::byte> planes, std::size_t element_bytes,
               std::span<std::byte> out) {
  const auto elements = element_bytes > 1 ? planes.size() / element_bytes : 0;
  if (elements > 1) {
    const auto done = unshuffle_vectors(planes.data(), elements, element_bytes, out.data());
    unshuffle_tail(planes.data(), done, elements, element_bytes, out.data());
  }
  const auto rest = elements > 1 ? elements * element_bytes : 0;
  if (rest < planes.size()) {
    std::memcpy(out.data() + rest, planes.data() + rest, planes.size() - rest);
  }
}

std::uint32_t fletcher32(std::span<const std::byte> bytes) {
  // Sums modulo 65535, where a multiple of it that is not zero is written as 65535: folding at the
  // end gives the same as HDF5's folding on the way.
  constexpr std::uint64_t kModulus = 65535;
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  bool any = false;
  const auto* at = reinterpret_cast<const std::uint8_t*>(bytes.data());
  auto words = bytes.size() / 2;
  while (words >= kLanes) {
    const auto rounds = std::min(kRounds, words / kLanes);
    LaneSums sums;
    sum_lanes(at, rounds, sums);
    const auto count = rounds * kLanes;
    second += count * first;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      second += kLanes * std::uint64_t{sums.second[lane]} +
                (kLanes - lane) * std::uint64_t{sums.first[lane]};
      first += sums.first[lane];
    }
    any = any || first != 0;
    first %= kModulus;
    second %= kModulus;
    at += 2 * count;
    words -= count;
  }
  for (; words > 0; --words, at += 2) {
    first += static_cast<std::uint64_t>(at[0]) << 8 | at[1];
    second += first;
  }
  if (bytes.size() % 2 != 0) {
    first += static_cast<std::uint64_t>(at[0]) << 8;
    second += first;
  }
  any = any || first != 0;
  const auto folded = [&](std::uint64_t sum) {
    sum %= kModulus;
    return static_cast<std::uint32_t>(sum == 0 && any ? kModulus : sum);
  };
  return folded(second) << 16 | folded(first);
}

}  // namespace lockstep::data::detail
