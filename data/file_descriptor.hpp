#pragma once
// A file opened for positioned reads. Internal to data/. `read_at` may be called from any thread.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace lockstep::data::detail {

/// What the file system says about which file this is, and when it last changed.
struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::chrono::nanoseconds modified{0};  ///< mtime, since the Unix epoch
  std::chrono::nanoseconds changed{0};   ///< ctime, which no program can set
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

class FileDescriptor {
 public:
  /// Throws DataError when `path` is missing, not a regular file, or not readable.
  explicit FileDescriptor(const std::string& path);
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;

  /// Bytes of the file when it was opened.
  std::uint64_t size() const { return size_; }
  /// Of the file as it is now.
  FileStamp stamp() const;
  const std::string& path() const { return path_; }
  /// Throws DataError when the file has become shorter since it was opened.
  void require_size() const;
  /// Maps the whole file for reading; the caller unmaps. Throws DataError.
  void* map() const;
  /// False when the byte at `offset` would have to come from storage, as far as the file system
  /// tells.
  bool in_memory(std::uint64_t offset) const;
  /// Fills `bytes`. Throws DataError when the file ends before.
  void read_at(std::uint64_t offset, std::span<std::byte> bytes) const;

 private:
  std::string path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace lockstep::data::detail
