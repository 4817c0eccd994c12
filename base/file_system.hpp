#pragma once
// The file system as an input: storage code takes a FileSystem, so that tests can make the nth
// call fail, drop unsynced data or fill the disk. Used by checkpoints, ledger, registry, launcher.
// Methods may be called from any thread; one WritableFile belongs to one thread at a time.
// Every failure is an IoError that names the path and the system's own reason.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::base {

/// Addresses and offsets that are equal modulo this can go from memory to the disk without a copy.
inline constexpr std::size_t kDirectBytes = 4096;

/// An open file that is written at given offsets or at its end. The destructor closes without
/// syncing and never throws.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual void write_at(std::uint64_t offset, std::span<const std::byte> bytes) = 0;
  virtual void append(std::span<const std::byte> bytes) = 0;
  void append(std::string_view text) { append(std::as_bytes(std::span(text.data(), text.size()))); }
  /// As write_at, and the bytes are on their way to the disk: the sync has less to wait for.
  virtual void write_early(std::uint64_t offset, std::span<const std::byte> bytes) {
    write_at(offset, bytes);
  }
  /// As write_at, of bytes that will be synced soon and not be read again: they may be on their way
  /// to the disk on return, and may not be in the file system's cache. Costs least processor time
  /// where `bytes` begins at an address that equals `offset` modulo kDirectBytes.
  virtual void write_through(std::uint64_t offset, std::span<const std::byte> bytes) {
    write_at(offset, bytes);
  }
  /// Returns when the file's data and length are on stable storage.
  virtual void sync() = 0;
  virtual void truncate(std::uint64_t size) = 0;
  /// As truncate, and takes the room on the disk where the file system can, so that a disk that is
  /// too full says so now.
  virtual void reserve(std::uint64_t size) { truncate(size); }
};

enum class OpenMode {
  kCreate,    ///< make it empty, whether or not it exists
  kExisting,  ///< must exist; contents stay
  kAppend,    ///< made when absent; `append` adds at the end
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual std::unique_ptr<WritableFile> open(const std::string& path, OpenMode mode) = 0;
  /// Fills `bytes` from `offset`. Throws IoError when the file is shorter.
  virtual void read_at(const std::string& path, std::uint64_t offset,
                       std::span<std::byte> bytes) = 0;
  /// Nothing when there is no such file.
  virtual std::optional<std::uint64_t> file_size(const std::string& path) = 0;
  virtual bool is_directory(const std::string& path) = 0;
  /// Names (not paths) in a directory, sorted; empty when it does not exist.
  virtual std::vector<std::string> list(const std::string& path) = 0;
  /// Makes the directory and its parents; fine when it exists.
  virtual void make_directories(const std::string& path) = 0;
  /// Atomically replaces `to`.
  virtual void rename(const std::string& from, const std::string& to) = 0;
  /// Gives the file `from` the second name `to`, which must be new. Not all file systems can.
  virtual void link(const std::string& from, const std::string& to) = 0;
  /// Removes a file or a whole tree; fine when it does not exist.
  virtual void remove_all(const std::string& path) = 0;
  /// Makes creations, renames and removals in the directory durable.
  virtual void sync_directory(const std::string& path) = 0;
  /// Points the symbolic link `path` at `target`, replacing an older link atomically.
  virtual void replace_link(const std::string& target, const std::string& path) = 0;
  /// Bytes an unprivileged process may still write there.
  virtual std::uint64_t free_bytes(const std::string& path) = 0;

  bool exists(const std::string& path) { return file_size(path).has_value() || is_directory(path); }
  std::string read_text(const std::string& path);
  /// Durable and atomic: temporary file beside it, sync, rename, sync of the directory.
  void write_atomically(const std::string& path, std::string_view text);

  /// POSIX calls on the real file system.
  static FileSystem& posix();
};

/// Joins with one slash; an absolute `name` wins.
std::string join_path(std::string_view directory, std::string_view name);
std::string parent_path(const std::string& path);
/// Absolute and without `.`/`..`, whether or not it exists.
std::string absolute_path(const std::string& path);

}  // namespace lockstep::base
