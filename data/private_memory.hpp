#pragma once
// Zeroed memory that takes room only where it is touched. Internal to data/.

#include <cstddef>
#include <span>

namespace lockstep::data::detail {

class PrivateMemory {
 public:
  /// Throws InternalError when the address space is used up.
  explicit PrivateMemory(std::size_t bytes);
  ~PrivateMemory();
  PrivateMemory(PrivateMemory&& other) noexcept;
  PrivateMemory& operator=(PrivateMemory&& other) noexcept;

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

}  // namespace lockstep::data::detail
