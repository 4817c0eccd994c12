#pragma once
// A file's bytes in memory, as the page cache has them. Internal to data/. Any thread may read.
//
// A mapped page that the file no longer has raises SIGBUS. Here it reads as zeros instead, and
// `require_whole` says so afterwards: whoever has used mapped bytes calls it before trusting them.

#include <cstddef>
#include <memory>
#include <span>

#include "data/file_descriptor.hpp"

namespace lockstep::data::detail {

class MappedFile {
 public:
  /// Maps all of `file`, which must outlive it. Throws DataError when it cannot be mapped.
  explicit MappedFile(const FileDescriptor& file);
  ~MappedFile();
  MappedFile(MappedFile&&) noexcept;
  MappedFile& operator=(MappedFile&&) noexcept;

  std::span<const std::byte> bytes() const;
  /// Throws DataError when the file was cut short or could not be read since it was mapped.
  void require_whole() const;

  /// False when the first of `bytes`, a part of this file's, would have to come from storage, as
  /// far as the file system tells. Bytes that are none of this file's are in memory.
  bool in_memory(std::span<const std::byte> bytes) const;
  /// Starts to read a part of this file from storage; never waits for it.
  void bring_in(std::span<const std::byte> bytes) const;

 private:
  bool holds(std::span<const std::byte> bytes) const;

  struct Mapping;
  const FileDescriptor* file_;
  std::unique_ptr<Mapping> mapping_;
};

}  // namespace lockstep::data::detail
