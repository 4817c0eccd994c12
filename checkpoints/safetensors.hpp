#pragma once
// The safetensors format of Hugging Face: eight bytes with the header's length, a JSON header, the
// tensors' bytes without holes. Any safetensors reader opens what is written here.
// Pure but for reading the file; any thread.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_system.hpp"

namespace lockstep::checkpoints {

/// One tensor; begin and end are bytes in the data region.
struct TensorEntry {
  std::string name;
  std::string dtype;  ///< `F32`, `I64`, `U8`, ... as the format names them
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool operator==(const TensorEntry&) const = default;
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;
  std::map<std::string, std::string> metadata;

  /// Length of the data region.
  std::uint64_t data_bytes() const;
  bool operator==(const SafetensorsHeader&) const = default;
};

/// Length prefix and JSON, padded with spaces so that the data starts at a multiple of 64 bytes.
/// The same header gives the same bytes; tensors stay in the order given.
/// Do not change: part of the format, see FORMAT.md.
std::string serialize(const SafetensorsHeader& header);

/// What a file begins with: serialize, padded further where the data has a MiB or more, so that it
/// starts on a page of 4096 bytes and can be written past the page cache and mapped.
std::string file_prefix(const SafetensorsHeader& header);

/// A file's header, validated: tensors tile the data region, sizes fit dtypes and shapes, and the
/// file is as long as it says. Tensors come in the header's order. Throws CheckpointError naming
/// the file otherwise.
SafetensorsHeader parse_safetensors(base::FileSystem& files, const std::string& path);

/// Length prefix and JSON as they lie in the file, so the data begins where they end; only the
/// length is checked. Throws CheckpointError when the file is missing or shorter than that.
std::string read_safetensors_prefix(base::FileSystem& files, const std::string& path);

/// parse_safetensors for bytes in memory: `prefix` holds the length and the JSON, `file_bytes` is
/// the whole file's length. `path` is for messages.
SafetensorsHeader parse_safetensors_header(std::string_view prefix, std::uint64_t file_bytes,
                                           const std::string& path);

}  // namespace lockstep::checkpoints
