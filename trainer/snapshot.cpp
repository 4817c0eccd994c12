#include "trainer/snapshot.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string>

#include "base/error.hpp"
#include "base/text.hpp"
#include "trainer/stream_copy.hpp"

namespace lockstep::trainer {

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

void Snapshot::prepare() const { populate(memory_); }

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
