#include "checkpoints/manifest.hpp"

#include <nlohmann/json.hpp>

#include "base/hash.hpp"
#include "base/text.hpp"

namespace lockstep::checkpoints {
namespace {

using Json = nlohmann::ordered_json;

// Do not change: part of the format, see FORMAT.md.
constexpr std::uint64_t kFormatVersion = 1;
constexpr char kFormat[] = "lockstep-checkpoint";
constexpr char kDigestDomain[] = "lockstep-state-1\n";
constexpr char kSelf[] = "manifest_sha256";

/// Writing JSON out again recurses, so hostile depth is refused while it is read.
constexpr int kDeepest = 64;

/// A whole number from 0; the library alone would take -1, 1.5 and true for one.
std::uint64_t whole(const Json& object, const char* key, const std::string& path) {
  const auto& value = object.at(key);
  if (!value.is_number_unsigned()) {
    throw damaged_checkpoint(path, base::quote(key) + " in its manifest is not a whole number");
  }
  return value.get<std::uint64_t>();
}

std::int64_t whole_signed(const Json& object, const char* key, const std::string& path) {
  const auto value = whole(object, key, path);
  if (!std::in_range<std::int64_t>(value)) {
    throw damaged_checkpoint(path, base::quote(key) + " in its manifest is too large");
  }
  return static_cast<std::int64_t>(value);
}

Json parse_json(const std::string& text, const std::string& path) {
  return Json::parse(text, [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kDeepest) throw damaged_checkpoint(path, "its manifest is nested too deeply");
    return true;
  });
}

void require_version(const Json& json, const std::string& path) {
  if (!json.is_object() || json.at("format") != kFormat) {
    throw damaged_checkpoint(path, "its manifest is of something else");
  }
  const auto version = whole(json, "version", path);
  if (version > kFormatVersion) {
    throw base::CheckpointError("checkpoint " + base::quote(path) + " has format version " +
                                std::to_string(version) +
                                " (written by a newer Lockstep, this one reads up to " +
                                std::to_string(kFormatVersion) + "); use that version");
  }
  if (version == 0) throw damaged_checkpoint(path, "its manifest has version 0");
}

/// Takes the manifest's own digest out of it and compares.
void require_intact(Json& json, const std::string& path) {
  const auto noted = json.at(kSelf).get<std::string>();
  json.erase(kSelf);
  if (base::sha256_hex(json.dump()) != noted) {
    throw damaged_checkpoint(path, std::string(kManifestName) + " is not what was written");
  }
}

void read_file(const Json& entry, base::FileSystem& files, LoadedManifest& loaded) {
  const auto& path = loaded.path;
  const auto name = entry.at("name").get<std::string>();
  if (name.find('/') != std::string::npos) {
    throw damaged_checkpoint(path, "a file name with a slash");
  }
  const auto file_path = base::join_path(path, name);
  const auto prefix = read_safetensors_prefix(files, file_path);
  if (base::sha256_hex(prefix) != entry.at("header_sha256").get<std::string>()) {
    throw damaged_checkpoint(
        path, "the header of " + base::quote(name) + " is not the one that was written");
  }
  auto header = parse_safetensors_header(prefix, files.file_size(file_path).value_or(0), file_path);

  const auto file = static_cast<int>(loaded.files.size());
  const auto data_bytes = header.data_bytes();
  std::uint64_t end = 0;
  for (const auto& extent : entry.at("extents")) {
    const StateExtent place{.file = file,
                            .offset = whole(extent, "offset", path),
                            .length = whole(extent, "length", path)};
    if (place.offset != end || place.length > data_bytes - end) {
      throw damaged_checkpoint(path, "the extents of " + base::quote(name) + " do not tile it");
    }
    end += place.length;
    loaded.extents.push_back(place);
    loaded.digests.push_back(extent.at("sha256").get<std::string>());
  }
  if (end != data_bytes || whole(entry, "bytes", path) != prefix.size() + data_bytes) {
    throw damaged_checkpoint(path, "the extents of " + base::quote(name) + " do not tile it");
  }
  loaded.data_offsets.push_back(prefix.size());
  loaded.files.push_back({.name = name, .header = std::move(header)});
}

}  // namespace

base::CheckpointError damaged_checkpoint(const std::string& path, const std::string& why) {
  return base::CheckpointError("checkpoint " + base::quote(path) + " cannot be used (" + why +
                               "); resume from an older one or run 'lockstep verify'");
}

std::string state_digest(std::span<const StateFile> files, std::span<const StateExtent> extents,
                         std::span<const std::string> digests) {
  LOCKSTEP_EXPECT(digests.size() == extents.size(), "not one digest for each extent");
  base::Sha256 hash;
  hash.update(kDigestDomain);
  for (std::size_t file = 0; file < files.size(); ++file) {
    hash.update(files[file].name + " " + base::sha256_hex(serialize(files[file].header)) + "\n");
    for (std::size_t i = 0; i < extents.size(); ++i) {
      if (extents[i].file == static_cast<int>(file)) hash.update(digests[i] + "\n");
    }
  }
  return base::to_hex(hash.finish());
}

void require_tiling(std::span<const StateFile> files, std::span<const StateExtent> extents) {
  std::vector<std::uint64_t> ends(files.size(), 0);
  for (const auto& extent : extents) {
    const auto file = static_cast<std::size_t>(extent.file);
    LOCKSTEP_EXPECT(file < files.size(), "an extent of no file");
    LOCKSTEP_EXPECT(extent.offset == ends[file], "extents that overlap or leave a hole");
    ends[file] += extent.length;
  }
  for (std::size_t file = 0; file < files.size(); ++file) {
    LOCKSTEP_EXPECT(ends[file] == files[file].header.data_bytes(),
                    "extents that do not cover " + base::quote(files[file].name));
  }
}

std::string manifest_text(std::span<const StateFile> files, std::span<const StateExtent> extents,
                          std::span<const std::string> digests, const CheckpointInfo& info,
                          const std::string& created) {
  Json manifest;
  manifest["format"] = kFormat;
  manifest["version"] = kFormatVersion;
  manifest["step"] = info.step;
  manifest["epoch"] = info.epoch;
  manifest["state_digest"] = state_digest(files, extents, digests);
  manifest["created"] = created;
  manifest["files"] = Json::array();
  for (std::size_t file = 0; file < files.size(); ++file) {
    const auto header = file_prefix(files[file].header);
    Json entry;
    entry["name"] = files[file].name;
    entry["bytes"] = header.size() + files[file].header.data_bytes();
    entry["header_sha256"] = base::sha256_hex(header);
    entry["extents"] = Json::array();
    for (std::size_t i = 0; i < extents.size(); ++i) {
      if (extents[i].file != static_cast<int>(file)) continue;
      LOCKSTEP_EXPECT(digests[i].size() == 64, "an extent that no rank has written");
      entry["extents"].push_back(
          {{"offset", extents[i].offset}, {"length", extents[i].length}, {"sha256", digests[i]}});
    }
    manifest["files"].push_back(std::move(entry));
  }
  auto metadata = Json::parse(info.metadata_json, nullptr, /*allow_exceptions=*/false);
  LOCKSTEP_EXPECT(metadata.is_object(), "checkpoint metadata that is no JSON object");
  manifest["metadata"] = std::move(metadata);
  manifest[kSelf] = base::sha256_hex(manifest.dump());
  return manifest.dump(1) + "\n";
}

LoadedManifest read_manifest(base::FileSystem& files, const std::string& path) {
  const auto manifest_path = base::join_path(path, kManifestName);
  if (!files.file_size(manifest_path)) {
    throw base::CheckpointError("checkpoint " + base::quote(path) +
                                " does not exist (there is no " + kManifestName +
                                " in it); list those of a run with 'lockstep show RUN'");
  }
  LoadedManifest loaded;
  loaded.path = path;
  try {
    auto json = parse_json(files.read_text(manifest_path), path);
    require_version(json, path);
    require_intact(json, path);
    loaded.info.step = whole_signed(json, "step", path);
    loaded.info.epoch = whole_signed(json, "epoch", path);
    loaded.info.metadata_json = json.at("metadata").dump();
    loaded.state_digest = json.at("state_digest").get<std::string>();
    for (const auto& entry : json.at("files")) read_file(entry, files, loaded);
  } catch (const nlohmann::json::exception& error) {
    throw damaged_checkpoint(path, std::string("its manifest does not parse: ") + error.what());
  }
  if (state_digest(loaded.files, loaded.extents, loaded.digests) != loaded.state_digest) {
    throw damaged_checkpoint(path, "its manifest contradicts its own state_digest");
  }
  return loaded;
}

}  // namespace lockstep::checkpoints
