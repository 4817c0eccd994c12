#include "launcher/memory_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace lockstep::launcher {

MemoryFile::MemoryFile(const std::string& name)
    : descriptor_(::memfd_create(name.c_str(), MFD_CLOEXEC)) {
  if (descriptor_ >= 0) return;
  throw base::EnvironmentError("shared memory cannot be had (memfd_create: " +
                               std::string(std::strerror(errno)) + "); see 'lockstep doctor'");
}

bool is_memory_file(const std::string& address, const std::string& name) {
  std::array<char, PATH_MAX> target{};
  if (::readlink(address.c_str(), target.data(), target.size() - 1) < 0) return false;
  return std::string(target.data()) == "/memfd:" + name + " (deleted)";
}

std::optional<MemoryFile> MemoryFile::find(const std::string& address, const std::string& name) {
  if (!is_memory_file(address, name)) return std::nullopt;
  const int descriptor = ::open(address.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return std::nullopt;
  return MemoryFile(descriptor);
}

MemoryFile::~MemoryFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

MemoryFile::MemoryFile(MemoryFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

std::size_t MemoryFile::size() const {
  struct stat status {};
  return ::fstat(descriptor_, &status) == 0 ? static_cast<std::size_t>(status.st_size) : 0;
}

std::string MemoryFile::address() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(descriptor_);
}

}  // namespace lockstep::launcher
