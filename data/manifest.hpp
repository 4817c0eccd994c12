#pragma once
// Checksums of a dataset file, kept beside it: `F.h5.sums`. Used by `data verify`. Any thread.
//
// Format, version 1: one JSON object with `lockstep_sums` (the version, 1), `file_bytes`,
// `fingerprint` (see fingerprint.hpp; it covers the other numbers too), `block_bytes` (4194304) and
// `blocks`, the XXH3-128 of each block in order as 32 hexadecimal digits. Do not change.

#include <cstdint>
#include <string>
#include <vector>

namespace lockstep::data {

struct Manifest {
  std::uint64_t file_bytes = 0;
  std::string fingerprint;
  std::vector<std::string> blocks;
};

/// The name of the manifest of a file.
std::string manifest_path(const std::string& path);

/// Reads the whole file on `threads` threads. Throws DataError when it cannot be read.
Manifest manifest_of(const std::string& path, int threads);

/// Bytes of a block, the last one of a file is shorter.
std::uint64_t manifest_block_bytes();

/// Throws IoError when it cannot be written; an older one then stays.
void write_manifest(const std::string& path, const Manifest& manifest);

/// Throws DataError when it is missing, of another version, or damaged.
Manifest read_manifest(const std::string& path);

}  // namespace lockstep::data
