#include "data/fingerprint.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <thread>
#include <vector>

#include "base/hash.hpp"
#include "data/file_descriptor.hpp"

namespace lockstep::data {
namespace {

// Do not change: part of the format, see README.md.
constexpr std::uint64_t kBlockBytes = std::uint64_t{4} << 20;
constexpr std::uint64_t kSampleBytes = std::uint64_t{64} << 10;
constexpr std::uint64_t kSamples = 16;

/// Below this a second thread costs more than it saves.
constexpr std::uint64_t kLargeBytes = std::uint64_t{64} << 20;

using BlockHash = std::array<std::uint8_t, 16>;

std::array<std::byte, 8> little_endian(std::uint64_t value) {
  std::array<std::byte, 8> bytes{};
  for (auto& byte : bytes) {
    byte = static_cast<std::byte>(value & 0xff);
    value >>= 8;
  }
  return bytes;
}

std::string digest_of(std::uint64_t size, std::span<const BlockHash> hashes) {
  base::Sha256 digest;
  digest.update(little_endian(size));
  for (const auto& hash : hashes) digest.update(std::as_bytes(std::span(hash)));
  return base::to_hex(digest.finish());
}

}  // namespace

std::string fingerprint(const std::string& path) {
  const detail::FileDescriptor file(path);
  const auto size = file.size();
  std::vector<BlockHash> hashes((size + kBlockBytes - 1) / kBlockBytes);

  const auto hash_every_other = [&](std::size_t first, std::size_t stride) {
    std::vector<std::byte> block(std::min(size, kBlockBytes));
    for (auto index = first; index < hashes.size(); index += stride) {
      const auto offset = index * kBlockBytes;
      const auto part = std::span(block).first(std::min(kBlockBytes, size - offset));
      file.read_at(offset, part);
      hashes[index] = base::xxh3_128(part);
    }
  };
  if (size < kLargeBytes) {
    hash_every_other(0, 1);
  } else {
    std::exception_ptr failure;
    std::thread helper([&] {
      try {
        hash_every_other(1, 2);
      } catch (...) {
        failure = std::current_exception();
      }
    });
    try {
      hash_every_other(0, 2);
    } catch (...) {
      helper.join();
      throw;
    }
    helper.join();
    if (failure) std::rethrow_exception(failure);
  }
  return digest_of(size, hashes);
}

std::string quick_identity(const std::string& path) {
  const detail::FileDescriptor file(path);
  const auto size = file.size();
  const auto length = std::min(size, kSampleBytes);
  std::vector<std::byte> block(length);
  std::vector<BlockHash> hashes;
  for (std::uint64_t i = 0; i < kSamples; ++i) {
    // The first sample starts the file, the last one ends it.
    file.read_at((size - length) / (kSamples - 1) * i +
                     (i == kSamples - 1 ? (size - length) % (kSamples - 1) : 0),
                 block);
    hashes.push_back(base::xxh3_128(block));
  }
  return digest_of(size, hashes);
}

}  // namespace lockstep::data
