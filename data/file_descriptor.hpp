#pragma once
// A file opened for positioned reads. Internal to data/. `read_at` may be called from any thread.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace lockstep::data::detail {

class FileDescriptor {
 public:
  /// Throws DataError when `path` is missing, not a regular file, or not readable.
  explicit FileDescriptor(const std::string& path);
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;

  /// Bytes of the file when it was opened.
  std::uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  /// What tells this file's content from that of others: size, inode and times of change, not the
  /// device, which differs between the hosts of a shared file system.
  std::string identity() const;
  /// Its last change is longer ago than `age`.
  bool is_unchanged_for(std::chrono::seconds age) const;
  /// Throws DataError when the file has become shorter since it was opened.
  void require_size() const;
  /// Maps the whole file for reading; the caller unmaps. Throws DataError.
  void* map() const;
  /// Fills `bytes`. Throws DataError when the file ends before.
  void read_at(std::uint64_t offset, std::span<std::byte> bytes) const;

 private:
  std::string path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace lockstep::data::detail
