#include "data/file_descriptor.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::data::detail {

FileDescriptor::FileDescriptor(const std::string& path) : path_(path) {
  // O_NONBLOCK: a named pipe must be refused below, not waited for.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) {
    const int error_number = errno;
    throw base::DataError(
        "data file " + base::quote(path) + " cannot be opened (" + std::strerror(error_number) +
        (error_number == ENOENT
             ? "); check the path, or make one with 'lockstep data import' or 'lockstep data synth'"
             : "); check its permissions"));
  }
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw base::DataError("data file " + base::quote(path) +
                          " is not a regular file; give the path of an HDF5 file");
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

FileDescriptor::~FileDescriptor() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_) {}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

FileStamp FileDescriptor::stamp() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    throw base::DataError("data file " + base::quote(path_) + " cannot be looked at (" +
                          std::strerror(errno) + "); check its file system");
  }
  const auto time_of = [](const timespec& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  };
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size = static_cast<std::uint64_t>(status.st_size),
          .modified = time_of(status.st_mtim),
          .changed = time_of(status.st_ctim)};
}

void FileDescriptor::require_size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) == 0 && static_cast<std::uint64_t>(status.st_size) >= size_) {
    return;
  }
  throw base::DataError("data file " + base::quote(path_) + " has become shorter than its " +
                        std::to_string(size_) +
                        " bytes (it was changed while it was read); leave data files alone while "
                        "they are used, and make this one again");
}

void* FileDescriptor::map() const {
  void* begin = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor_, 0);
  if (begin == MAP_FAILED) {
    throw base::DataError("data file " + base::quote(path_) + " cannot be mapped (" +
                          std::strerror(errno) + "); check the file system and 'ulimit -v'");
  }
  return begin;
}

bool FileDescriptor::in_memory(std::uint64_t offset) const {
  std::byte byte{};
  const iovec to{&byte, 1};
  return ::preadv2(descriptor_, &to, 1, static_cast<off_t>(offset), RWF_NOWAIT) >= 0 ||
         errno != EAGAIN;
}

void FileDescriptor::read_at(std::uint64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const auto got = ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      throw base::DataError(
          "data file " + base::quote(path_) + " could not be read at byte " +
          std::to_string(offset) + " (" +
          (got < 0 ? std::strerror(errno) : "it ends there, so it was cut short meanwhile") +
          "); make the file again, or copy it anew");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

}  // namespace lockstep::data::detail
