#pragma once
// Identity of a file's bytes. Any thread.

#include <string>

namespace lockstep::data {

/// 64 hexadecimal digits: SHA-256 over the file's size (8 bytes, little endian) and the XXH3-128 of
/// each 4 MiB block, in order. Do not change: part of the format, see README.md. Reads the whole
/// file, on two threads when it is large. Throws DataError when it cannot be read.
std::string fingerprint(const std::string& path);

/// 64 hexadecimal digits from the size and 16 blocks of 64 KiB spread over the file: enough to tell
/// whether ranks look at the same file, cheap at any size. Not a checksum.
std::string quick_identity(const std::string& path);

}  // namespace lockstep::data
