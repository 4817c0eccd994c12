#pragma once
// Writes extents into the files of a checkpoint and hashes them on the way. Used by
// CheckpointStore, which says when. Functions without state; any thread.

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_system.hpp"
#include "checkpoints/manifest.hpp"

namespace lockstep::checkpoints {

/// Bytes of an extent that this rank writes.
struct OwnedExtent {
  int extent = 0;
  std::span<const std::byte> bytes;
};

struct ExtentDigest {
  int extent = 0;
  std::string sha256;  ///< hexadecimal
};

enum class WriteMode {
  kThroughCache,  ///< fastest for whoever waits, and what is read next is there
  kPastCache,     ///< costs least processor time and memory beside other work
};

/// A line an extent: its number, a space, its digest.
std::string digest_lines(std::span<const ExtentDigest> digests);
/// Puts each line's digest into its place. False when a line is not one, its extent is out of range
/// or has one already, or the last line is cut short.
bool read_digest_lines(std::string_view lines, std::span<std::string> digests);

namespace detail {

/// See CheckpointStore::write_extents.
std::vector<ExtentDigest> write_extents(base::FileSystem& file_system, const std::string& directory,
                                        std::span<const StateFile> files,
                                        std::span<const StateExtent> extents,
                                        std::span<const OwnedExtent> owned, WriteMode mode,
                                        const std::function<void()>& after_piece);

}  // namespace detail
}  // namespace lockstep::checkpoints
