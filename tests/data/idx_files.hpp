#pragma once
// IDX files for tests, plain or gzip. One thread.

#include <cstdint>
#include <string>
#include <vector>

namespace lockstep::tests {

/// Header and elements, as the format has them.
std::vector<std::byte> idx_bytes(std::uint8_t type_code, const std::vector<std::uint32_t>& shape,
                                 const std::vector<std::uint8_t>& elements);

std::vector<std::byte> gzipped(const std::vector<std::byte>& bytes);

}  // namespace lockstep::tests
