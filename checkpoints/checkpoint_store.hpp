#pragma once
// Checkpoints of a run as directories that are complete or do not exist. Saving is cut into calls
// between which the ranks agree: one rank begins and commits, every rank writes its extents.
// Bytes only: what the state means is the trainer's business. One thread at a time.
// Format: FORMAT.md.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/file_system.hpp"
#include "checkpoints/extent_writer.hpp"
#include "checkpoints/manifest.hpp"

namespace lockstep::checkpoints {

/// Memory that an extent is read into.
struct ReadExtent {
  int extent = 0;
  std::span<std::byte> out;
};

struct SaveTicket {
  std::string directory;         ///< where the files are while they are written
  bool frozen_is_there = false;  ///< frozen files are those of an older checkpoint, and not written
};

/// Which checkpoints stay.
struct Retention {
  std::int64_t keep = 1;            ///< the newest, at least one
  std::int64_t best_step = -1;      ///< that of this step besides; negative = none
  std::int64_t every_steps = 0;     ///< those of steps divisible by this besides; 0 = none
  std::int64_t rollback_step = -1;  ///< that which a rollback would need; negative = none
};

/// A checkpoint's directory in a listing.
struct CheckpointSummary {
  std::string path;
  std::int64_t step = 0;
  std::int64_t epoch = 0;
  std::string state_digest;
  std::uint64_t bytes = 0;  ///< of the state itself
  bool valid = true;        ///< manifest and headers are right; data is not looked at
  std::string problem;      ///< why it is not valid
};

class CheckpointStore {
 public:
  /// Whether a checkpoint of that step will do.
  using Suits = std::function<bool(std::int64_t step)>;

  /// `directory` need not exist yet. `files` and `clock` must outlive the store.
  CheckpointStore(base::FileSystem& files, std::string directory,
                  const base::Clock& clock = base::Clock::system());

  /// What `begin` returns for a step: for the ranks that did not call it.
  SaveTicket ticket_of(std::int64_t step) const;
  /// Makes a hidden directory with every file at its full size, and tidies what a crash left.
  /// Frozen files become further names of those in the checkpoint `like`, when it is given, has
  /// them, and the file system can. One save at a time. One rank.
  SaveTicket begin(std::int64_t step, std::span<const StateFile> files,
                   std::span<const StateExtent> extents, const std::string& like = {});
  /// Writes and syncs this rank's extents, returns their digests. Every rank. `after_piece` is
  /// called after each piece of at most a MiB; what it throws ends the writing. Costs least where
  /// the bytes of neighbouring extents are neighbours (see base::WritableFile::write_through).
  std::vector<ExtentDigest> write_extents(const SaveTicket& ticket,
                                          std::span<const StateFile> files,
                                          std::span<const StateExtent> extents,
                                          std::span<const OwnedExtent> owned,
                                          WriteMode mode = WriteMode::kThroughCache,
                                          const std::function<void()>& after_piece = {});
  /// Leaves this rank's digests beside the files, for the rank that collects them: the ranks'
  /// threads need not speak to each other. Every rank but that one, after write_extents.
  void leave_digests(const SaveTicket& ticket, int rank, std::span<const ExtentDigest> mine);
  /// Takes the digests that ranks 1 to `ranks` - 1 have left; those of extents that none of them
  /// wrote are empty. Throws CheckpointError when what one left is not there or not right. Rank 0.
  std::vector<std::string> collect_digests(const SaveTicket& ticket, int ranks,
                                           std::size_t extents);
  /// Writes the manifest and gives the directory its name; durable on return. A checkpoint of the
  /// same step is replaced, and at no moment is there neither. One rank. Returns the path.
  std::string commit(const SaveTicket& ticket, std::span<const StateFile> files,
                     std::span<const StateExtent> extents, std::span<const std::string> digests,
                     const CheckpointInfo& info);
  /// Removes what `begin` made. Never throws: it runs while an error is under way. One rank.
  void abandon(const SaveTicket& ticket) noexcept;
  /// Removes all valid checkpoints but those of `retention`, and what crashed saves left behind.
  /// What is not valid stays for a person to look at. After a commit, checkpoints of later steps
  /// go, too: they are of an attempt that was given up, and the one just written must not lose its
  /// place to them. One rank.
  void retain(const Retention& retention);
  /// Removes the checkpoints of steps after `step`. For a resume from an older one, before the
  /// ledger is cut there: what comes later would no longer fit the ledger. One rank.
  void remove_after(std::int64_t step);

  /// All checkpoints, oldest first, also those that are not valid.
  std::vector<CheckpointSummary> list();
  /// The newest one whose every byte is right; `problems` gets a line for each that was passed
  /// over.
  std::optional<std::string> newest_good(std::vector<std::string>* problems = nullptr,
                                         const Suits& suits = {});

  /// Reads and checks a manifest and the headers of its files. Throws CheckpointError.
  LoadedManifest open(const std::string& path);
  /// Throws CheckpointError naming the first tensor that differs when `manifest` holds the state of
  /// another model or optimizer.
  void require_same_state(const LoadedManifest& manifest, std::span<const StateFile> files,
                          std::span<const StateExtent> extents);
  /// Reads extents and checks their digests; two of one length side by side cost least. Throws
  /// CheckpointError naming file, tensors and bytes when they are not what was written.
  void read_extents(const LoadedManifest& manifest, std::span<const ReadExtent> wanted);
  void read_extent(const LoadedManifest& manifest, int extent, std::span<std::byte> out);
  /// Reads and checks everything.
  void verify(const LoadedManifest& manifest);

 private:
  struct Place {
    std::int64_t step = 0;
    std::string path;
  };
  std::vector<Place> places();
  void tidy();
  /// Whether all frozen files of `like` have got names in `directory`.
  bool link_frozen(std::span<const StateFile> files, const std::string& like,
                   const std::string& directory);
  void remove(const Place& place);
  void require_digest(const LoadedManifest& manifest, int extent, const std::string& digest);

  base::FileSystem& files_;
  std::string directory_;
  const base::Clock& clock_;
  std::optional<std::int64_t> committed_;  // the last step committed through this object
};

}  // namespace lockstep::checkpoints
