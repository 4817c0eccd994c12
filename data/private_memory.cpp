#include "data/private_memory.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.hpp"

namespace lockstep::data::detail {

PrivateMemory::PrivateMemory(std::size_t bytes) {
  if (bytes == 0) return;
  void* begin = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  LOCKSTEP_EXPECT(begin != MAP_FAILED, "no memory of " + std::to_string(bytes) +
                                           " bytes can be mapped: " + std::strerror(errno));
  bytes_ = {static_cast<std::byte*>(begin), bytes};
}

PrivateMemory::~PrivateMemory() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

PrivateMemory::PrivateMemory(PrivateMemory&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})) {}

PrivateMemory& PrivateMemory::operator=(PrivateMemory&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace lockstep::data::detail
