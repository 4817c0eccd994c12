#pragma once
// Checkpoints of a run as directories that are complete or do not exist. Saving is cut into calls
// between which the ranks agree: one rank begins and commits, every rank writes its extents.
// Bytes only: what the state means is the trainer's business. One thread at a time.
// Format: FORMAT.md.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_system.hpp"
#include "checkpoints/safetensors.hpp"

namespace lockstep::checkpoints {

/// One file of a checkpoint; the same on all ranks.
struct StateFile {
  std::string name;
  SafetensorsHeader header;
};

/// A piece of a file's data region: the unit that is written, hashed and verified. The cut is the
/// same on all ranks and at any number of ranks; the extents of a file tile its data in order.
struct StateExtent {
  int file = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

/// Bytes of an extent that this rank writes.
struct OwnedExtent {
  int extent = 0;
  std::span<const std::byte> bytes;
};

struct ExtentDigest {
  int extent = 0;
  std::string sha256;  ///< hexadecimal
};

/// What a checkpoint says of itself besides its files.
struct CheckpointInfo {
  std::int64_t step = 0;  ///< finished optimizer steps
  std::int64_t epoch = 0;
  std::string metadata_json = "{}";  ///< a JSON object, opaque here
};

struct SaveTicket {
  std::string directory;  ///< where the files are while they are written
};

struct CheckpointSummary {
  std::string path;
  std::int64_t step = 0;
  std::int64_t epoch = 0;
  std::string state_digest;
  std::uint64_t bytes = 0;
};

struct LoadedManifest {
  std::string path;
  CheckpointInfo info;
  std::string state_digest;
  std::vector<StateFile> files;
  std::vector<StateExtent> extents;
  std::vector<std::string> digests;  ///< parallel to extents
};

/// SHA-256 over names, headers and extent digests in order: equal digests are equal states, bit
/// for bit. Do not change: part of the format, see FORMAT.md.
std::string state_digest(std::span<const StateFile> files, std::span<const StateExtent> extents,
                         std::span<const std::string> digests);

class CheckpointStore {
 public:
  /// `directory` need not exist yet. `files` must outlive the store.
  CheckpointStore(base::FileSystem& files, std::string directory);

  /// Makes a hidden directory with every file at its full size. One rank.
  SaveTicket begin(std::int64_t step, std::span<const StateFile> files,
                   std::span<const StateExtent> extents);
  /// Writes and syncs this rank's extents, returns their digests. Every rank.
  std::vector<ExtentDigest> write_extents(const SaveTicket& ticket,
                                          std::span<const StateFile> files,
                                          std::span<const StateExtent> extents,
                                          std::span<const OwnedExtent> owned);
  /// Writes the manifest and gives the directory its name; durable on return. One rank.
  /// Returns the checkpoint's path.
  std::string commit(const SaveTicket& ticket, std::span<const StateFile> files,
                     std::span<const StateExtent> extents, std::span<const std::string> digests,
                     const CheckpointInfo& info);
  /// Removes what `begin` made. Never throws: it runs while an error is under way. One rank.
  void abandon(const SaveTicket& ticket) noexcept;
  /// Removes all but the newest `keep` (at least one) and that of `best_step` (negative: none),
  /// and what crashed saves left behind. One rank.
  void retain(std::int64_t keep, std::int64_t best_step);

  /// Checkpoints with a readable manifest, oldest first.
  std::vector<CheckpointSummary> list();
  /// The newest one whose every byte is right; `problems` gets a line for each that was passed
  /// over.
  std::optional<std::string> newest_good(std::vector<std::string>* problems = nullptr);

  /// Reads and checks a manifest and the headers of its files. Throws CheckpointError.
  LoadedManifest open(const std::string& path);
  /// Throws CheckpointError naming the first tensor that differs when `manifest` holds the state of
  /// another model or optimizer.
  void require_same_state(const LoadedManifest& manifest, std::span<const StateFile> files,
                          std::span<const StateExtent> extents);
  /// Reads an extent into `out` and checks its digest. Throws CheckpointError naming file, tensors
  /// and bytes when they are not what was written.
  void read_extent(const LoadedManifest& manifest, int extent, std::span<std::byte> out);
  /// Reads and checks everything.
  void verify(const LoadedManifest& manifest);

 private:
  base::FileSystem& files_;
  std::string directory_;
};

}  // namespace lockstep::checkpoints
