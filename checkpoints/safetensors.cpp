#include "checkpoints/safetensors.hpp"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::checkpoints {
namespace {

// Do not change: part of the format, see FORMAT.md.
constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kAlignment = 64;
constexpr std::uint64_t kLargestHeader = 100'000'000;

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw base::CheckpointError("file " + base::quote(path) + " is not a good safetensors file (" +
                              why + "); use an older checkpoint");
}

std::uint64_t dtype_bytes(std::string_view dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "U8" || dtype == "I8" || dtype == "BOOL" || dtype == "F8_E4M3" || dtype == "F8_E5M2") {
    return 1;
  }
  return 0;
}

TensorEntry entry_of(const std::string& name, const nlohmann::json& value, const std::string& path) {
  TensorEntry entry;
  entry.name = name;
  entry.dtype = value.at("dtype").get<std::string>();
  entry.shape = value.at("shape").get<std::vector<std::int64_t>>();
  const auto offsets = value.at("data_offsets").get<std::vector<std::uint64_t>>();
  if (offsets.size() != 2) refuse(path, "tensor " + base::quote(name) + " has no two offsets");
  entry.begin = offsets[0];
  entry.end = offsets[1];
  std::uint64_t bytes = dtype_bytes(entry.dtype);
  if (bytes == 0) {
    refuse(path, "tensor " + base::quote(name) + " has unknown dtype " + base::quote(entry.dtype));
  }
  for (const auto side : entry.shape) {
    if (side < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(side), &bytes)) {
      refuse(path, "tensor " + base::quote(name) + " has an impossible shape");
    }
  }
  if (entry.begin > entry.end || entry.end - entry.begin != bytes) {
    refuse(path, "tensor " + base::quote(name) + " does not fill its offsets");
  }
  return entry;
}

}  // namespace

std::uint64_t SafetensorsHeader::data_bytes() const {
  std::uint64_t end = 0;
  for (const auto& tensor : tensors) end = std::max(end, tensor.end);
  return end;
}

std::string serialize(const SafetensorsHeader& header) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) json["__metadata__"] = header.metadata;
  for (const auto& tensor : header.tensors) {
    json[tensor.name] = {{"dtype", tensor.dtype},
                         {"shape", tensor.shape},
                         {"data_offsets", {tensor.begin, tensor.end}}};
  }
  std::string text = json.dump();
  const auto padded = (kLengthBytes + text.size() + kAlignment - 1) / kAlignment * kAlignment;
  text.resize(padded - kLengthBytes, ' ');
  std::string prefix(kLengthBytes, '\0');
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    prefix[i] = static_cast<char>(static_cast<std::uint64_t>(text.size()) >> (8 * i) & 0xFF);
  }
  return prefix + text;
}

SafetensorsHeader parse_safetensors_header(std::string_view prefix, std::uint64_t file_bytes,
                                           const std::string& path) {
  if (prefix.size() < kLengthBytes) refuse(path, "it is shorter than eight bytes");
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length |= std::uint64_t{static_cast<unsigned char>(prefix[i])} << (8 * i);
  }
  if (length > kLargestHeader || length > file_bytes - kLengthBytes ||
      prefix.size() < kLengthBytes + length) {
    refuse(path, "its header is said to have " + std::to_string(length) + " bytes");
  }
  SafetensorsHeader header;
  try {
    const auto json = nlohmann::json::parse(prefix.substr(kLengthBytes, length));
    if (!json.is_object()) refuse(path, "its header is no JSON object");
    for (const auto& [name, value] : json.items()) {
      if (name == "__metadata__") {
        header.metadata = value.get<std::map<std::string, std::string>>();
      } else {
        header.tensors.push_back(entry_of(name, value, path));
      }
    }
  } catch (const nlohmann::json::exception& error) {
    refuse(path, std::string("its header does not parse: ") + error.what());
  }
  std::ranges::sort(header.tensors, {}, [](const auto& t) { return std::pair(t.begin, t.end); });
  std::uint64_t end = 0;
  for (const auto& tensor : header.tensors) {
    if (tensor.begin != end) {
      refuse(path, "tensor " + base::quote(tensor.name) + " overlaps another or leaves a hole");
    }
    end = tensor.end;
  }
  const auto expected = kLengthBytes + length + end;
  if (file_bytes != expected) {
    refuse(path, "it has " + std::to_string(file_bytes) + " bytes, its header says " +
                     std::to_string(expected));
  }
  return header;
}

SafetensorsHeader parse_safetensors(base::FileSystem& files, const std::string& path) {
  const auto size = files.file_size(path);
  if (!size) {
    throw base::CheckpointError("file " + base::quote(path) +
                                " is missing (the checkpoint is not complete); use another one");
  }
  std::string prefix(std::min<std::uint64_t>(*size, kLengthBytes), '\0');
  const auto read = [&](std::uint64_t offset, std::span<char> out) {
    files.read_at(path, offset, std::as_writable_bytes(out));
  };
  read(0, prefix);
  if (prefix.size() == kLengthBytes) {
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < kLengthBytes; ++i) {
      length |= std::uint64_t{static_cast<unsigned char>(prefix[i])} << (8 * i);
    }
    if (length <= kLargestHeader && length <= *size - kLengthBytes) {
      prefix.resize(kLengthBytes + length);
      read(kLengthBytes, std::span(prefix).subspan(kLengthBytes));
    }
  }
  return parse_safetensors_header(prefix, *size, path);
}

}  // namespace lockstep::checkpoints
