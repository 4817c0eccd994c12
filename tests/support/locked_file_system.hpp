#pragma once
// Another file system behind one lock, for ranks on threads. Any thread.

#include <mutex>

#include "base/file_system.hpp"

namespace lockstep::tests {

class LockedFileSystem final : public base::FileSystem {
 public:
  /// `inner` must outlive this.
  explicit LockedFileSystem(base::FileSystem& inner) : inner_(inner) {}

  std::unique_ptr<base::WritableFile> open(const std::string& path, base::OpenMode mode) override {
    const std::lock_guard lock(mutex_);
    return std::make_unique<File>(mutex_, inner_.open(path, mode));
  }
  void read_at(const std::string& path, std::uint64_t offset, std::span<std::byte> bytes) override {
    const std::lock_guard lock(mutex_);
    inner_.read_at(path, offset, bytes);
  }
  std::optional<std::uint64_t> file_size(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    return inner_.file_size(path);
  }
  bool is_directory(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    return inner_.is_directory(path);
  }
  std::vector<std::string> list(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    return inner_.list(path);
  }
  void make_directories(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    inner_.make_directories(path);
  }
  void rename(const std::string& from, const std::string& to) override {
    const std::lock_guard lock(mutex_);
    inner_.rename(from, to);
  }
  void link(const std::string& from, const std::string& to) override {
    const std::lock_guard lock(mutex_);
    inner_.link(from, to);
  }
  void remove_all(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    inner_.remove_all(path);
  }
  void sync_directory(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    inner_.sync_directory(path);
  }
  void replace_link(const std::string& target, const std::string& path) override {
    const std::lock_guard lock(mutex_);
    inner_.replace_link(target, path);
  }
  std::uint64_t free_bytes(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    return inner_.free_bytes(path);
  }

 private:
  class File final : public base::WritableFile {
   public:
    File(std::mutex& mutex, std::unique_ptr<base::WritableFile> inner)
        : mutex_(mutex), inner_(std::move(inner)) {}
    ~File() override {
      const std::lock_guard lock(mutex_);
      inner_.reset();
    }
    void write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
      const std::lock_guard lock(mutex_);
      inner_->write_at(offset, bytes);
    }
    void append(std::span<const std::byte> bytes) override {
      const std::lock_guard lock(mutex_);
      inner_->append(bytes);
    }
    void sync() override {
      const std::lock_guard lock(mutex_);
      inner_->sync();
    }
    void truncate(std::uint64_t size) override {
      const std::lock_guard lock(mutex_);
      inner_->truncate(size);
    }

   private:
    std::mutex& mutex_;
    std::unique_ptr<base::WritableFile> inner_;
  };

  base::FileSystem& inner_;
  std::mutex mutex_;
};

}  // namespace lockstep::tests
