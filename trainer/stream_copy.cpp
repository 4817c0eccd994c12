#include "trainer/stream_copy.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace lockstep::trainer {

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

void end_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

void populate(std::span<std::byte> memory) {
  // Piece by piece: the call holds up others that change this process's mappings.
  constexpr std::size_t kPieceBytes = std::size_t{8} << 20;
  for (std::size_t at = 0; at < memory.size(); at += kPieceBytes) {
    const auto piece = memory.subspan(at, std::min(kPieceBytes, memory.size() - at));
    // Linux 5.14 and newer; before that the first copy pays.
    if (::madvise(piece.data(), piece.size(), MADV_POPULATE_WRITE) != 0) return;
  }
}

}  // namespace lockstep::trainer
