#pragma once
// Files in NumPy's formats, .npy and .npz, for tests. One thread.

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace lockstep::tests {

/// Magic string, version, header padded to 64 bytes as NumPy pads it, elements.
std::vector<std::byte> npy_bytes(std::string header, const std::vector<std::byte>& elements,
                                 int version = 1);

enum class Packing { kStored, kDeflated };

/// A zip file of these members, names with `.npy`.
void write_npz(const std::string& path,
               const std::vector<std::pair<std::string, std::vector<std::byte>>>& members,
               Packing packing);

}  // namespace lockstep::tests
