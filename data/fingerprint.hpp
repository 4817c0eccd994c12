#pragma once
// Identity of a file's bytes. Any thread.

#include <string>

#include "base/clock.hpp"

namespace lockstep::data {

struct FingerprintOptions {
  int threads = 2;  ///< that read a large file; the result is the same with any number
  /// Where fingerprints are remembered between commands, see base::cache_directory; empty =
  /// nowhere. A file is taken for the one that was read when device, inode, size, mtime and ctime
  /// are the same. As git does with its index, one that was changed less than two seconds before
  /// it was read is never remembered: a change within the clock's grain would not show.
  std::string cache_directory{};
  const base::Clock* clock = &base::Clock::system();  ///< tells "two seconds before"
};

/// 64 hexadecimal digits: SHA-256 over the file's size (8 bytes, little endian) and the XXH3-128 of
/// each 4 MiB block, in order. Do not change: part of the format, see README.md. Reads the whole
/// file unless it is remembered. Throws DataError when it cannot be read.
std::string fingerprint(const std::string& path, const FingerprintOptions& options = {});

/// 64 hexadecimal digits from the size and 16 blocks of 64 KiB spread over the file: enough to tell
/// whether ranks look at the same file, cheap at any size. Not a checksum.
std::string quick_identity(const std::string& path);

}  // namespace lockstep::data
