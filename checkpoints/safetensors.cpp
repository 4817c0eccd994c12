#include "checkpoints/safetensors.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::checkpoints {
namespace {

// Do not change: part of the format, see FORMAT.md.
constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kAlignment = 64;
constexpr std::uint64_t kPagedBytes = std::uint64_t{1} << 20;  // of data, where it begins on a page
constexpr std::uint64_t kLargestHeader = 100'000'000;
constexpr char kMetadata[] = "__metadata__";

/// A header is an object of objects of lists; what goes deeper is not one, however large it is.
constexpr int kDeepest = 4;

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw base::CheckpointError("file " + base::quote(path) + " is not a good safetensors file (" +
                              why + "); use an older checkpoint");
}

std::uint64_t dtype_bytes(std::string_view dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "U8" || dtype == "I8" || dtype == "BOOL" || dtype == "F8_E4M3" ||
      dtype == "F8_E5M2") {
    return 1;
  }
  return 0;
}

std::uint64_t header_length(std::string_view prefix) {
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length |= std::uint64_t{static_cast<unsigned char>(prefix[i])} << (8 * i);
  }
  return length;
}

void require_length(std::string_view prefix, std::uint64_t file_bytes, const std::string& path) {
  if (prefix.size() < kLengthBytes || file_bytes < kLengthBytes) {
    refuse(path, "it is shorter than eight bytes");
  }
  const auto length = header_length(prefix);
  if (length > kLargestHeader || length > file_bytes - kLengthBytes) {
    refuse(path, "its header is said to have " + std::to_string(length) + " bytes, the file has " +
                     std::to_string(file_bytes));
  }
}

/// A whole number from 0; the library alone would take -1, 1.5 and true for one.
template <class Number>
Number whole(const nlohmann::json& value, const std::string& what, const std::string& path) {
  if (!value.is_number_unsigned() || !std::in_range<Number>(value.get<std::uint64_t>())) {
    refuse(path, what + " is not a whole number");
  }
  return value.get<Number>();
}

TensorEntry entry_of(const std::string& name, const nlohmann::json& value,
                     const std::string& path) {
  const auto tensor = "tensor " + base::quote(name);
  TensorEntry entry;
  entry.name = name;
  entry.dtype = value.at("dtype").get<std::string>();
  for (const auto& side : value.at("shape")) {
    entry.shape.push_back(whole<std::int64_t>(side, "a side of " + tensor, path));
  }
  const auto& offsets = value.at("data_offsets");
  if (!offsets.is_array() || offsets.size() != 2) refuse(path, tensor + " has no two offsets");
  entry.begin = whole<std::uint64_t>(offsets[0], "an offset of " + tensor, path);
  entry.end = whole<std::uint64_t>(offsets[1], "an offset of " + tensor, path);

  std::uint64_t bytes = dtype_bytes(entry.dtype);
  if (bytes == 0) refuse(path, tensor + " has unknown dtype " + base::quote(entry.dtype));
  for (const auto side : entry.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(side), &bytes)) {
      refuse(path, tensor + " has an impossible shape");
    }
  }
  if (entry.begin > entry.end || entry.end - entry.begin != bytes) {
    refuse(path, tensor + " does not fill its offsets");
  }
  return entry;
}

/// The header's JSON and its keys in the order they are written in.
nlohmann::json parse_json(std::string_view text, std::vector<std::string>& keys,
                          const std::string& path) {
  std::set<std::string> seen;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    if (depth > kDeepest) refuse(path, "its header is nested too deeply");
    if (depth == 1 && event == nlohmann::json::parse_event_t::key) {
      keys.push_back(parsed.get<std::string>());
      if (!seen.insert(keys.back()).second) {
        refuse(path, "tensor " + base::quote(keys.back()) + " is there twice");
      }
    }
    return true;
  };
  auto json = nlohmann::json::parse(text, watch);
  if (!json.is_object()) refuse(path, "its header is no JSON object");
  return json;
}

void require_tiling(const SafetensorsHeader& header, const std::string& path) {
  std::vector<const TensorEntry*> in_order;
  for (const auto& tensor : header.tensors) in_order.push_back(&tensor);
  std::ranges::sort(in_order, {}, [](const auto* t) { return std::pair(t->begin, t->end); });
  std::uint64_t end = 0;
  for (const auto* tensor : in_order) {
    if (tensor->begin != end) {
      refuse(path, "tensor " + base::quote(tensor->name) + " overlaps another or leaves a hole");
    }
    end = tensor->end;
  }
}

}  // namespace

std::uint64_t SafetensorsHeader::data_bytes() const {
  std::uint64_t end = 0;
  for (const auto& tensor : tensors) end = std::max(end, tensor.end);
  return end;
}

namespace {

std::string with_length(std::string text, std::size_t alignment) {
  const auto padded = (kLengthBytes + text.size() + alignment - 1) / alignment * alignment;
  text.resize(padded - kLengthBytes, ' ');
  std::string prefix(kLengthBytes, '\0');
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    prefix[i] = static_cast<char>(static_cast<std::uint64_t>(text.size()) >> (8 * i) & 0xFF);
  }
  return prefix + text;
}

}  // namespace

std::string serialize(const SafetensorsHeader& header) {
  std::string text = "{";
  const auto add = [&](const std::string& name, const nlohmann::ordered_json& value) {
    if (text.size() > 1) text += ',';
    text += nlohmann::json(name).dump() + ":" + value.dump();
  };
  if (!header.metadata.empty()) add(kMetadata, header.metadata);
  for (const auto& tensor : header.tensors) {
    add(tensor.name, {{"dtype", tensor.dtype},
                      {"shape", tensor.shape},
                      {"data_offsets", {tensor.begin, tensor.end}}});
  }
  text += '}';
  return with_length(std::move(text), kAlignment);
}

std::string file_prefix(const SafetensorsHeader& header) {
  auto prefix = serialize(header);
  if (header.data_bytes() < kPagedBytes) return prefix;
  return with_length(prefix.substr(kLengthBytes), base::kDirectBytes);
}

SafetensorsHeader parse_safetensors_header(std::string_view prefix, std::uint64_t file_bytes,
                                           const std::string& path) {
  require_length(prefix, file_bytes, path);
  const auto text = prefix.substr(kLengthBytes);
  if (text.size() != header_length(prefix) || !text.starts_with('{')) {
    refuse(path, "its header does not begin with a brace or is cut short");
  }
  SafetensorsHeader header;
  try {
    std::vector<std::string> keys;
    const auto json = parse_json(text, keys, path);
    for (const auto& key : keys) {
      if (key == kMetadata) {
        header.metadata = json.at(key).get<std::map<std::string, std::string>>();
      } else {
        header.tensors.push_back(entry_of(key, json.at(key), path));
      }
    }
  } catch (const nlohmann::json::exception& error) {
    refuse(path, std::string("its header does not parse: ") + error.what());
  }
  require_tiling(header, path);
  const auto data_bytes = header.data_bytes();
  if (data_bytes > file_bytes || prefix.size() + data_bytes != file_bytes) {
    refuse(path, "it has " + std::to_string(file_bytes) + " bytes, its header describes " +
                     std::to_string(prefix.size()) + " and data of " + std::to_string(data_bytes));
  }
  return header;
}

std::string read_safetensors_prefix(base::FileSystem& files, const std::string& path) {
  const auto size = files.file_size(path);
  if (!size) {
    throw base::CheckpointError("file " + base::quote(path) +
                                " is missing (the checkpoint is not complete); use an older one");
  }
  std::string prefix(std::min<std::uint64_t>(*size, kLengthBytes), '\0');
  const auto read = [&](std::uint64_t offset, std::span<char> out) {
    files.read_at(path, offset, std::as_writable_bytes(out));
  };
  read(0, prefix);
  require_length(prefix, *size, path);
  prefix.resize(kLengthBytes + header_length(prefix));
  read(kLengthBytes, std::span(prefix).subspan(kLengthBytes));
  return prefix;
}

SafetensorsHeader parse_safetensors(base::FileSystem& files, const std::string& path) {
  const auto prefix = read_safetensors_prefix(files, path);
  return parse_safetensors_header(prefix, files.file_size(path).value_or(0), path);
}

}  // namespace lockstep::checkpoints
