#include "base/file_system.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::base {
namespace {

namespace fs = std::filesystem;

const char* advice(int number) {
  switch (number) {
    case ENOSPC:
    case EDQUOT: return "free space there or name another directory";
    case EACCES:
    case EPERM:
    case EROFS: return "check its permissions or name another directory";
    case ENOENT: return "check the path";
    default: return "check the path and its file system";
  }
}

[[noreturn]] void fail(const std::string& what, const std::string& path, int number) {
  throw IoError(
      what + " " + quote(path) + " failed (" + std::strerror(number) + "); " + advice(number),
      number);
}

/// Owns one descriptor.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags)
      : value_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (value_ < 0) fail("opening", path, errno);
  }
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() { ::close(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

int open_flags(OpenMode mode) {
  switch (mode) {
    case OpenMode::kCreate: return O_WRONLY | O_CREAT | O_TRUNC;
    case OpenMode::kExisting: return O_WRONLY;
    case OpenMode::kAppend: return O_WRONLY | O_CREAT | O_APPEND;
  }
  throw InternalError("open mode out of range; report this bug");
}

class PosixFile final : public WritableFile {
 public:
  PosixFile(const std::string& path, OpenMode mode)
      : path_(path), descriptor_(path, open_flags(mode)) {}

  void write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const auto written =
          ::pwrite(descriptor_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (written < 0) {
        if (errno == EINTR) continue;
        fail("writing", path_, errno);
      }
      offset += static_cast<std::uint64_t>(written);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  void append(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const auto written = ::write(descriptor_.get(), bytes.data(), bytes.size());
      if (written < 0) {
        if (errno == EINTR) continue;
        fail("writing", path_, errno);
      }
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  void write_early(std::uint64_t offset, std::span<const std::byte> bytes) override {
    write_at(offset, bytes);
    // Only a hint: sync tells whether the data got there.
    (void)::sync_file_range(descriptor_.get(), static_cast<off64_t>(offset),
                            static_cast<off64_t>(bytes.size()), SYNC_FILE_RANGE_WRITE);
  }

  void write_through(std::uint64_t offset, std::span<const std::byte> bytes) override {
    const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
    const auto head = std::min((kDirectBytes - offset % kDirectBytes) % kDirectBytes, bytes.size());
    const auto middle = (bytes.size() - head) / kDirectBytes * kDirectBytes;
    if (address % kDirectBytes != offset % kDirectBytes || middle == 0 ||
        !write_direct(offset + head, bytes.subspan(head, middle))) {
      return write_early(offset, bytes);
    }
    write_at(offset, bytes.first(head));
    write_at(offset + head + middle, bytes.subspan(head + middle));
  }

  void sync() override {
    if (::fsync(descriptor_.get()) != 0) fail("syncing", path_, errno);
  }

  void truncate(std::uint64_t size) override {
    if (::ftruncate(descriptor_.get(), static_cast<off_t>(size)) != 0) {
      fail("truncating", path_, errno);
    }
  }

  void reserve(std::uint64_t size) override {
    truncate(size);
    if (size == 0 || ::fallocate(descriptor_.get(), 0, 0, static_cast<off_t>(size)) == 0) return;
    // Other reasons than these mean that the file system cannot do it.
    if (errno == ENOSPC || errno == EDQUOT || errno == EIO) fail("making room for", path_, errno);
  }

 private:
  /// Past the cache. False where the file system cannot do that; nothing is lost then.
  bool write_direct(std::uint64_t offset, std::span<const std::byte> bytes) {
    if (!direct_ && !direct_fails_) {
      const int descriptor = ::open(path_.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
      if (descriptor >= 0) direct_.emplace(descriptor);
    }
    while (direct_ && !bytes.empty()) {
      const auto written =
          ::pwrite(direct_->get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0 && errno != EINVAL) fail("writing", path_, errno);
      // Parts of a block are what only the cache can write.
      if (written <= 0 || static_cast<std::size_t>(written) % kDirectBytes != 0) direct_.reset();
      if (written > 0) {
        offset += static_cast<std::uint64_t>(written);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
      }
    }
    direct_fails_ = !direct_;
    return bytes.empty();
  }

  std::string path_;
  Descriptor descriptor_;
  std::optional<Descriptor> direct_;  // of the same file, without the cache
  bool direct_fails_ = false;
};

class PosixFileSystem final : public FileSystem {
 public:
  std::unique_ptr<WritableFile> open(const std::string& path, OpenMode mode) override {
    return std::make_unique<PosixFile>(path, mode);
  }

  void read_at(const std::string& path, std::uint64_t offset, std::span<std::byte> bytes) override {
    const Descriptor descriptor(path, O_RDONLY);
    while (!bytes.empty()) {
      const auto got =
          ::pread(descriptor.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (got < 0) {
        if (errno == EINTR) continue;
        fail("reading", path, errno);
      }
      if (got == 0) {
        throw IoError("file " + quote(path) + " ends at byte " + std::to_string(offset) + ", " +
                          std::to_string(bytes.size()) +
                          " more are needed (file truncated); restore it from a copy",
                      EIO);
      }
      offset += static_cast<std::uint64_t>(got);
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
  }

  std::optional<std::uint64_t> file_size(const std::string& path) override {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
      fail("looking at", path, errno);
    }
    if (S_ISDIR(status.st_mode)) return std::nullopt;
    return static_cast<std::uint64_t>(status.st_size);
  }

  bool is_directory(const std::string& path) override {
    std::error_code code;
    return fs::is_directory(path, code);
  }

  std::vector<std::string> list(const std::string& path) override {
    std::vector<std::string> names;
    if (!is_directory(path)) return names;
    std::error_code code;
    for (fs::directory_iterator entry(path, code), end; !code && entry != end;
         entry.increment(code)) {
      names.push_back(entry->path().filename().string());
    }
    if (code) fail("listing", path, code.value());
    std::sort(names.begin(), names.end());
    return names;
  }

  void make_directories(const std::string& path) override {
    std::error_code code;
    fs::create_directories(path, code);
    if (code) fail("making directory", path, code.value());
  }

  void rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) fail("renaming to", to, errno);
  }

  void link(const std::string& from, const std::string& to) override {
    if (::link(from.c_str(), to.c_str()) != 0) fail("linking to", to, errno);
  }

  void remove_all(const std::string& path) override {
    std::error_code code;
    fs::remove_all(path, code);
    if (code) fail("removing", path, code.value());
  }

  void sync_directory(const std::string& path) override {
    const Descriptor descriptor(path, O_RDONLY | O_DIRECTORY);
    if (::fsync(descriptor.get()) != 0) fail("syncing directory", path, errno);
  }

  void replace_link(const std::string& target, const std::string& path) override {
    const std::string fresh = path + "." + std::to_string(::getpid());
    ::unlink(fresh.c_str());
    if (::symlink(target.c_str(), fresh.c_str()) != 0) fail("linking", path, errno);
    if (::rename(fresh.c_str(), path.c_str()) != 0) {
      const int number = errno;
      ::unlink(fresh.c_str());
      fail("linking", path, number);
    }
  }

  std::uint64_t free_bytes(const std::string& path) override {
    struct statvfs status {};
    if (::statvfs(path.c_str(), &status) != 0) fail("looking at", path, errno);
    return std::uint64_t{status.f_bavail} * status.f_frsize;
  }
};

}  // namespace

std::string FileSystem::read_text(const std::string& path) {
  const auto size = file_size(path);
  if (!size) fail("opening", path, is_directory(path) ? EISDIR : ENOENT);
  std::string text(*size, '\0');
  read_at(path, 0, std::as_writable_bytes(std::span(text.data(), text.size())));
  return text;
}

void FileSystem::write_atomically(const std::string& path, std::string_view text) {
  // Thread ids are unique on a machine, so no two writers share a temporary file.
  const std::string fresh = path + ".tmp-" + std::to_string(::gettid());
  try {
    const auto file = open(fresh, OpenMode::kCreate);
    file->append(text);
    file->sync();
    rename(fresh, path);
  } catch (...) {
    try {
      remove_all(fresh);
    } catch (const IoError&) {
      // The first failure is the one to report.
    }
    throw;
  }
  sync_directory(parent_path(path));
}

FileSystem& FileSystem::posix() {
  static PosixFileSystem file_system;  // stateless
  return file_system;
}

std::string join_path(std::string_view directory, std::string_view name) {
  return (fs::path(directory) / fs::path(name)).string();
}

std::string parent_path(const std::string& path) {
  const auto parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

std::string absolute_path(const std::string& path) {
  return fs::absolute(path).lexically_normal().string();
}

}  // namespace lockstep::base
