#pragma once
// A file read front to back, unpacked on the way when it is gzip. Internal to data/import. One
// thread.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace lockstep::data::detail {

class GzipReader {
 public:
  /// `what` names the kind of file in messages: `IDX file`. Throws DataError when it cannot be
  /// opened.
  GzipReader(std::string what, const std::string& path);
  ~GzipReader();
  GzipReader(GzipReader&&) noexcept;
  GzipReader& operator=(GzipReader&&) noexcept;

  const std::string& path() const { return path_; }
  /// Fills as much of `bytes` as there is; fewer only at the end of the file. Throws DataError when
  /// the file cannot be unpacked.
  std::size_t read(std::span<std::byte> bytes);
  /// At the end of the bytes: throws DataError when the gzip file itself ends too early.
  void check_end() const;
  /// Unpacked bytes read so far.
  std::uint64_t offset() const { return offset_; }
  bool packed() const;
  /// Bytes of the file as it is stored, and how many of them have been read.
  std::uint64_t stored_bytes() const { return stored_bytes_; }
  std::uint64_t stored_offset() const;
  /// Throws DataError `what 'path' problem; advice`.
  [[noreturn]] void refuse(const std::string& problem, const std::string& advice) const;

 private:
  struct Close {
    void operator()(void* file) const;
  };
  std::string what_;
  std::string path_;
  std::uint64_t stored_bytes_;
  std::unique_ptr<void, Close> file_;  ///< a gzFile
  std::uint64_t offset_ = 0;
};

}  // namespace lockstep::data::detail
