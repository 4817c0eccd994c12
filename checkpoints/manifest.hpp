#pragma once
// What a checkpoint says of itself: manifest.json, written last, and the digest of its state.
// Used by CheckpointStore and, for the digest, by the trainer. Functions without state; any thread.
// Format: FORMAT.md.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "checkpoints/safetensors.hpp"

namespace lockstep::checkpoints {

inline constexpr char kManifestName[] = "manifest.json";

/// One file of a checkpoint; the same on all ranks.
struct StateFile {
  std::string name;
  SafetensorsHeader header;
  bool frozen = false;  ///< its bytes are the same in all checkpoints of a run's attempt
};

/// A piece of a file's data region: the unit that is written, hashed and verified. The cut is the
/// same on all ranks and at any number of ranks; the extents of a file tile its data in order.
struct StateExtent {
  int file = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool operator==(const StateExtent&) const = default;
};

/// What a checkpoint says of itself besides its files.
struct CheckpointInfo {
  std::int64_t step = 0;  ///< finished optimizer steps
  std::int64_t epoch = 0;
  std::string metadata_json = "{}";  ///< a JSON object, opaque here
};

struct LoadedManifest {
  std::string path;  ///< of the checkpoint
  CheckpointInfo info;
  std::string state_digest;
  std::vector<StateFile> files;
  std::vector<StateExtent> extents;
  std::vector<std::string> digests;         ///< SHA-256 in hexadecimal, parallel to extents
  std::vector<std::uint64_t> data_offsets;  ///< where data begins, parallel to files
};

/// SHA-256 over names, headers and extent digests in order: equal digests are equal states, bit
/// for bit. Do not change: part of the format, see FORMAT.md.
std::string state_digest(std::span<const StateFile> files, std::span<const StateExtent> extents,
                         std::span<const std::string> digests);

/// Throws InternalError unless the extents of each file tile its data in order.
void require_tiling(std::span<const StateFile> files, std::span<const StateExtent> extents);

/// The text of manifest.json. `digests` is parallel to `extents`; `created` is for people.
std::string manifest_text(std::span<const StateFile> files, std::span<const StateExtent> extents,
                          std::span<const std::string> digests, const CheckpointInfo& info,
                          const std::string& created);

/// Reads the manifest of the checkpoint at `path` and the headers of its files, and checks that
/// they agree. Throws CheckpointError.
LoadedManifest read_manifest(base::FileSystem& files, const std::string& path);

/// `checkpoint 'PATH' cannot be used (WHY); ...`
base::CheckpointError damaged_checkpoint(const std::string& path, const std::string& why);

}  // namespace lockstep::checkpoints
