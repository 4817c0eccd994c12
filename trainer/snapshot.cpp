#include "trainer/snapshot.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::trainer {

Snapshot::Snapshot(std::size_t bytes) {
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

std::vector<checkpoints::OwnedExtent> Snapshot::take(std::span<const LocalExtent> owned) {
  std::vector<checkpoints::OwnedExtent> copies;
  copies.reserve(owned.size());
  std::size_t used = 0;
  for (std::size_t begin = 0; begin < owned.size();) {
    // Neighbours are copied in one go: long copies go past the cache.
    const auto* source = owned[begin].memory.data();
    std::size_t length = 0;
    auto end = begin;
    for (; end < owned.size() && owned[end].memory.data() == source + length; ++end) {
      copies.push_back({.extent = owned[end].extent,
                        .bytes = memory_.subspan(used + length, owned[end].memory.size())});
      length += owned[end].memory.size();
    }
    LOCKSTEP_EXPECT(used + length <= memory_.size(), "a snapshot of more than there is room for");
    std::memcpy(memory_.data() + used, source, length);
    used += length;
    begin = end;
  }
  return copies;
}

}  // namespace lockstep::trainer
