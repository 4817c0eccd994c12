#include "data/manifest.hpp"

#include <charconv>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "data/block_hashes.hpp"
#include "data/file_descriptor.hpp"

namespace lockstep::data {
namespace {

using Json = nlohmann::ordered_json;

// Do not change: part of the format, see manifest.hpp.
constexpr int kVersion = 1;

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw base::DataError("manifest " + base::quote(path) + " cannot be used (" + why +
                        "); copy it again, or make it anew with 'lockstep data verify --write' "
                        "from a file that is known to be good");
}

/// Throws std::invalid_argument for anything but 32 hexadecimal digits.
detail::BlockHash hash_of_hex(const std::string& text) {
  detail::BlockHash hash{};
  if (text.size() != 2 * hash.size()) throw std::invalid_argument("a checksum is no checksum");
  for (std::size_t i = 0; i < hash.size(); ++i) {
    const auto* begin = text.data() + 2 * i;
    const auto [end, error] = std::from_chars(begin, begin + 2, hash[i], 16);
    if (error != std::errc() || end != begin + 2) {
      throw std::invalid_argument("a checksum is no checksum");
    }
  }
  return hash;
}

}  // namespace

std::string manifest_path(const std::string& path) { return path + ".sums"; }

std::uint64_t manifest_block_bytes() { return detail::kHashBlockBytes; }

Manifest manifest_of(const std::string& path, int threads) {
  const detail::FileDescriptor file(path);
  const auto hashes = detail::block_hashes(file, threads);
  Manifest manifest{.file_bytes = file.size(),
                    .fingerprint = detail::digest_of(file.size(), hashes),
                    .blocks = {}};
  for (const auto& hash : hashes) manifest.blocks.push_back(base::to_hex(hash));
  return manifest;
}

void write_manifest(const std::string& path, const Manifest& manifest) {
  Json json;
  json["lockstep_sums"] = kVersion;
  json["file_bytes"] = manifest.file_bytes;
  json["fingerprint"] = manifest.fingerprint;
  json["block_bytes"] = detail::kHashBlockBytes;
  json["blocks"] = manifest.blocks;
  base::FileSystem::posix().write_atomically(path, json.dump(1) + "\n");
}

Manifest read_manifest(const std::string& path) {
  if (!base::FileSystem::posix().file_size(path)) refuse(path, "there is no such file");
  Manifest manifest;
  try {
    const auto json = Json::parse(base::FileSystem::posix().read_text(path));
    const auto version = json.at("lockstep_sums").get<std::int64_t>();
    if (version != kVersion) refuse(path, "its version is " + std::to_string(version) + ", not 1");
    if (json.at("block_bytes") != detail::kHashBlockBytes) refuse(path, "its blocks are not 4 MiB");
    manifest.file_bytes = json.at("file_bytes");
    manifest.fingerprint = json.at("fingerprint");
    manifest.blocks = json.at("blocks").get<std::vector<std::string>>();
    std::vector<detail::BlockHash> hashes;
    for (auto& block : manifest.blocks) {
      hashes.push_back(hash_of_hex(block));
      block = base::to_hex(hashes.back());  // in lower case, to be compared
    }
    if (detail::digest_of(manifest.file_bytes, hashes) != manifest.fingerprint) {
      refuse(path, "its checksums are not those of its fingerprint, so it is damaged itself");
    }
  } catch (const Json::exception&) {
    refuse(path, "it is no manifest, or damaged");
  } catch (const std::invalid_argument& error) {
    refuse(path, error.what());
  }
  return manifest;
}

}  // namespace lockstep::data
