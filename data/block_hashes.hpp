#pragma once
// XXH3-128 of each block of a file: what fingerprints and manifests are made of. Internal to data/.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/file_descriptor.hpp"

namespace lockstep::data::detail {

/// Do not change: part of the formats of fingerprint and manifest, see README.md.
inline constexpr std::uint64_t kHashBlockBytes = std::uint64_t{4} << 20;

/// The canonical (big-endian) bytes.
using BlockHash = std::array<std::uint8_t, 16>;

/// The hashes of the file's blocks, the last one shorter, in order; read on `threads` threads.
/// Throws DataError when the file cannot be read.
std::vector<BlockHash> block_hashes(const FileDescriptor& file, int threads);

/// 64 hexadecimal digits: SHA-256 over `size` (8 bytes, little endian) and the hashes.
std::string digest_of(std::uint64_t size, std::span<const BlockHash> hashes);

}  // namespace lockstep::data::detail
