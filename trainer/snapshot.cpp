#include "trainer/snapshot.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::trainer {
namespace {

/// Copies past the cache: nobody reads the copy soon, and its old contents need not be fetched. It
/// takes about six tenths of memcpy's time where the source is in the cache.
void stream_copy(std::byte* to, const std::byte* from, std::size_t bytes) {
#if defined(__SSE2__)
  constexpr std::size_t kVector = sizeof(__m128i);
  constexpr std::size_t kLine = 4 * kVector;
  const auto aligned = (kVector - reinterpret_cast<std::uintptr_t>(to) % kVector) % kVector;
  const auto head = std::min(bytes, aligned);
  std::memcpy(to, from, head);
  to += head, from += head, bytes -= head;
  for (; bytes >= kLine; to += kLine, from += kLine, bytes -= kLine) {
    __m128i line[4];
    std::memcpy(line, from, kLine);
    for (int i = 0; i < 4; ++i) _mm_stream_si128(reinterpret_cast<__m128i*>(to) + i, line[i]);
  }
#endif
  std::memcpy(to, from, bytes);
}

/// Other threads may read what was streamed.
void end_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace

Snapshot::Snapshot(std::span<const LocalExtent> owned) {
  // A header that grows with the number of steps moves each region by less than a page.
  const auto bytes = lay_out(owned).back() + regions_.size() * base::kDirectBytes;
  if (bytes == 0) return;
  void* begin = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (begin == MAP_FAILED) {
    throw base::EnvironmentError("memory of " + base::format_bytes(bytes) +
                                 " for the copy that checkpoints are written from cannot be had (" +
                                 std::strerror(errno) +
                                 "); use more ranks or set checkpoint.background to false");
  }
  memory_ = {static_cast<std::byte*>(begin), bytes};
  // Fewer page faults and shorter tables; where it is refused, nothing is lost.
  (void)::madvise(begin, bytes, MADV_HUGEPAGE);
}

Snapshot::~Snapshot() {
  if (!memory_.empty()) ::munmap(memory_.data(), memory_.size());
}

void Snapshot::prepare() const {
  // Piece by piece: the call holds up others that change this process's mappings.
  constexpr std::size_t kPieceBytes = std::size_t{8} << 20;
  for (std::size_t at = 0; at < memory_.size(); at += kPieceBytes) {
    const auto piece = memory_.subspan(at, std::min(kPieceBytes, memory_.size() - at));
    // Linux 5.14 and newer; before that the first copy pays.
    if (::madvise(piece.data(), piece.size(), MADV_POPULATE_WRITE) != 0) return;
  }
}

std::vector<std::size_t> Snapshot::lay_out(std::span<const LocalExtent> owned) {
  regions_.clear();
  std::vector<std::size_t> places;
  std::size_t used = 0;
  for (const auto& own : owned) {
    const auto shift = (own.file_offset - used) % base::kDirectBytes;
    const bool follows = !regions_.empty() && shift == 0 &&
                         regions_.back().source + regions_.back().length == own.memory.data();
    if (follows) {
      regions_.back().length += own.memory.size();
    } else {
      used += shift;
      regions_.push_back(
          {.source = own.memory.data(), .begin = used, .length = own.memory.size(), .copied = 0});
    }
    places.push_back(used);
    used += own.memory.size();
  }
  places.push_back(used);
  std::ranges::sort(regions_, std::less<>{}, &Region::source);
  return places;
}

std::vector<checkpoints::OwnedExtent> Snapshot::begin(std::span<const LocalExtent> owned) {
  const auto places = lay_out(owned);
  LOCKSTEP_EXPECT(places.back() <= memory_.size(), "a snapshot of more than there is room for");
  std::vector<checkpoints::OwnedExtent> copies;
  copies.reserve(owned.size());
  for (std::size_t i = 0; i < owned.size(); ++i) {
    copies.push_back(
        {.extent = owned[i].extent, .bytes = memory_.subspan(places[i], owned[i].memory.size())});
  }
  return copies;
}

void Snapshot::copy_until(Region& region, std::size_t end) {
  if (end <= region.copied) return;
  stream_copy(memory_.data() + region.begin + region.copied, region.source + region.copied,
              end - region.copied);
  region.copied = end;
}

void Snapshot::keep(std::span<const std::byte> piece) {
  const std::less<const std::byte*> before;
  const auto* const end = piece.data() + piece.size();
  // The first region that ends behind the piece's beginning, and all that begin before its end.
  auto region = std::ranges::partition_point(
      regions_, [&](const Region& r) { return !before(piece.data(), r.source + r.length); });
  for (; region != regions_.end() && before(region->source, end); ++region) {
    copy_until(*region, std::min(static_cast<std::size_t>(end - region->source), region->length));
  }
}

void Snapshot::complete() {
  for (auto& region : regions_) copy_until(region, region.length);
  end_streams();
}

}  // namespace lockstep::trainer
