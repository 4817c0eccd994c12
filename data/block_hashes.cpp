#include "data/block_hashes.hpp"

#include <algorithm>
#include <cstddef>

#include "base/hash.hpp"
#include "data/parallel.hpp"

namespace lockstep::data::detail {
namespace {

/// Below this a second thread costs more than it saves.
constexpr std::uint64_t kLargeBytes = std::uint64_t{64} << 20;

std::array<std::byte, 8> little_endian(std::uint64_t value) {
  std::array<std::byte, 8> bytes{};
  for (auto& byte : bytes) {
    byte = static_cast<std::byte>(value & 0xff);
    value >>= 8;
  }
  return bytes;
}

}  // namespace

std::vector<BlockHash> block_hashes(const FileDescriptor& file, int threads) {
  const auto size = file.size();
  if (size < kLargeBytes) threads = 1;
  threads = std::max(1, threads);
  std::vector<BlockHash> hashes((size + kHashBlockBytes - 1) / kHashBlockBytes);
  std::vector<std::vector<std::byte>> buffers(static_cast<std::size_t>(threads));
  for_each_index(
      static_cast<std::int64_t>(hashes.size()), threads, [&](int worker, std::int64_t index) {
        auto& buffer = buffers[static_cast<std::size_t>(worker)];
        const auto offset = static_cast<std::uint64_t>(index) * kHashBlockBytes;
        buffer.resize(std::min(size, kHashBlockBytes));
        const auto block = std::span(buffer).first(std::min(kHashBlockBytes, size - offset));
        file.read_at(offset, block);
        hashes[static_cast<std::size_t>(index)] = base::xxh3_128(block);
      });
  return hashes;
}

std::string digest_of(std::uint64_t size, std::span<const BlockHash> hashes) {
  base::Sha256 digest;
  digest.update(little_endian(size));
  for (const auto& hash : hashes) digest.update(std::as_bytes(std::span(hash)));
  return base::to_hex(digest.finish());
}

}  // namespace lockstep::data::detail
