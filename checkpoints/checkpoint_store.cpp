#include "checkpoints/checkpoint_store.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"

namespace lockstep::checkpoints {
namespace {

// Do not change: part of the format, see FORMAT.md.
constexpr int kFormatVersion = 1;
constexpr char kManifest[] = "manifest.json";
constexpr char kPrefix[] = "step-";
constexpr char kPartialSuffix[] = ".partial";
constexpr char kReplacedSuffix[] = ".replaced";
constexpr char kDigestDomain[] = "lockstep-state-1\n";

std::string name_of(std::int64_t step) {
  char text[32];
  std::snprintf(text, sizeof text, "%s%08lld", kPrefix, static_cast<long long>(step));
  return text;
}

std::optional<std::int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(sizeof kPrefix - 1);
  std::int64_t step = 0;
  const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (code != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return step;
}

/// Names of the tensors that bytes [begin, end) of a file's data belong to, a few of them.
std::string tensors_at(const SafetensorsHeader& header, std::uint64_t begin, std::uint64_t end) {
  std::vector<std::string> names;
  for (const auto& tensor : header.tensors) {
    if (tensor.begin < end && begin < tensor.end) names.push_back(tensor.name);
  }
  const auto count = names.size();
  if (count > 3) {
    names.resize(3);
    return base::joined(names) + " and " + std::to_string(count - 3) + " more";
  }
  return base::joined(names);
}

base::CheckpointError damaged(const std::string& path, const std::string& why) {
  return base::CheckpointError("checkpoint " + base::quote(path) + " cannot be used (" + why +
                               "); resume from an older one or run 'lockstep verify'");
}

}  // namespace

std::string state_digest(std::span<const StateFile> files, std::span<const StateExtent> extents,
                         std::span<const std::string> digests) {
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

CheckpointStore::CheckpointStore(base::FileSystem& files, std::string directory)
    : files_(files), directory_(std::move(directory)) {}

SaveTicket CheckpointStore::begin(std::int64_t step, std::span<const StateFile> files,
                                  std::span<const StateExtent> extents) {
  files_.make_directories(directory_);
  const SaveTicket ticket{base::join_path(directory_, "." + name_of(step) + kPartialSuffix)};
  files_.remove_all(ticket.directory);
  std::uint64_t bytes = 0;
  for (const auto& extent : extents) bytes += extent.length;
  if (const auto free = files_.free_bytes(directory_); free < bytes) {
    throw base::IoError("checkpoint of step " + std::to_string(step) + " needs " +
                            base::format_bytes(bytes) + ", " + base::quote(directory_) + " has " +
                            base::format_bytes(free) +
                            " free (the last checkpoint is kept); free space there or lower "
                            "checkpoint.keep",
                        ENOSPC);
  }
  try {
    files_.make_directories(ticket.directory);
    for (const auto& file : files) {
      const auto header = serialize(file.header);
      const auto out =
          files_.open(base::join_path(ticket.directory, file.name), base::OpenMode::kCreate);
      out->append(header);
      out->truncate(header.size() + file.header.data_bytes());
      out->sync();
    }
    files_.sync_directory(ticket.directory);
  } catch (...) {
    abandon(ticket);
    throw;
  }
  return ticket;
}

std::vector<ExtentDigest> CheckpointStore::write_extents(const SaveTicket& ticket,
                                                         std::span<const StateFile> files,
                                                         std::span<const StateExtent> extents,
                                                         std::span<const OwnedExtent> owned) {
  std::vector<ExtentDigest> digests;
  for (std::size_t file = 0; file < files.size(); ++file) {
    std::unique_ptr<base::WritableFile> out;
    const auto data_begin = serialize(files[file].header).size();
    for (const auto& own : owned) {
      const auto& extent = extents[static_cast<std::size_t>(own.extent)];
      if (extent.file != static_cast<int>(file)) continue;
      LOCKSTEP_EXPECT(own.bytes.size() == extent.length, "an extent of another length");
      if (out == nullptr) {
        out = files_.open(base::join_path(ticket.directory, files[file].name),
                          base::OpenMode::kExisting);
      }
      out->write_at(data_begin + extent.offset, own.bytes);
      digests.push_back({.extent = own.extent, .sha256 = base::sha256_hex(own.bytes)});
    }
    if (out != nullptr) out->sync();
  }
  return digests;
}

std::string CheckpointStore::commit(const SaveTicket& ticket, std::span<const StateFile> files,
                                    std::span<const StateExtent> extents,
                                    std::span<const std::string> digests,
                                    const CheckpointInfo& info) {
  nlohmann::ordered_json manifest;
  manifest["format"] = "lockstep-checkpoint";
  manifest["version"] = kFormatVersion;
  manifest["step"] = info.step;
  manifest["epoch"] = info.epoch;
  manifest["state_digest"] = state_digest(files, extents, digests);
  manifest["created"] = base::format_utc(base::Clock::system().wall());
  manifest["files"] = nlohmann::ordered_json::array();
  for (std::size_t file = 0; file < files.size(); ++file) {
    const auto header = serialize(files[file].header);
    nlohmann::ordered_json entry;
    entry["name"] = files[file].name;
    entry["bytes"] = header.size() + files[file].header.data_bytes();
    entry["header_sha256"] = base::sha256_hex(header);
    entry["extents"] = nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < extents.size(); ++i) {
      if (extents[i].file != static_cast<int>(file)) continue;
      LOCKSTEP_EXPECT(digests[i].size() == 64, "an extent that no rank has written");
      entry["extents"].push_back({{"offset", extents[i].offset},
                                  {"length", extents[i].length},
                                  {"sha256", digests[i]}});
    }
    manifest["files"].push_back(std::move(entry));
  }
  manifest["metadata"] = nlohmann::ordered_json::parse(info.metadata_json);
  files_.write_atomically(base::join_path(ticket.directory, kManifest), manifest.dump(1) + "\n");

  const auto path = base::join_path(directory_, name_of(info.step));
  const auto replaced = base::join_path(directory_, "." + name_of(info.step) + kReplacedSuffix);
  const bool again = files_.is_directory(path);
  if (again) {
    files_.remove_all(replaced);
    files_.rename(path, replaced);
  }
  files_.rename(ticket.directory, path);
  files_.sync_directory(directory_);
  if (again) files_.remove_all(replaced);
  return path;
}

void CheckpointStore::abandon(const SaveTicket& ticket) noexcept {
  try {
    files_.remove_all(ticket.directory);
  } catch (const std::exception&) {
    // What stays is hidden, and removed by the next save.
  }
}

void CheckpointStore::retain(std::int64_t keep, std::int64_t best_step) {
  std::vector<std::int64_t> steps;
  for (const auto& name : files_.list(directory_)) {
    if (name.starts_with('.') &&
        (name.ends_with(kPartialSuffix) || name.ends_with(kReplacedSuffix))) {
      files_.remove_all(base::join_path(directory_, name));
    } else if (const auto step = step_of(name)) {
      steps.push_back(*step);
    }
  }
  std::ranges::sort(steps);
  const auto newest = static_cast<std::size_t>(std::max<std::int64_t>(keep, 1));
  for (std::size_t i = 0; i + newest < steps.size(); ++i) {
    if (steps[i] == best_step) continue;
    // Hidden first: a directory that is half removed must not look like a checkpoint.
    const auto path = base::join_path(directory_, name_of(steps[i]));
    const auto hidden =
        base::join_path(directory_, "." + name_of(steps[i]) + kReplacedSuffix);
    files_.remove_all(hidden);
    files_.rename(path, hidden);
    files_.remove_all(hidden);
  }
  if (files_.is_directory(directory_)) files_.sync_directory(directory_);
}

std::vector<CheckpointSummary> CheckpointStore::list() {
  std::vector<CheckpointSummary> summaries;
  for (const auto& name : files_.list(directory_)) {
    if (!step_of(name)) continue;
    const auto path = base::join_path(directory_, name);
    try {
      const auto manifest = open(path);
      std::uint64_t bytes = 0;
      for (const auto& extent : manifest.extents) bytes += extent.length;
      summaries.push_back({.path = path,
                           .step = manifest.info.step,
                           .epoch = manifest.info.epoch,
                           .state_digest = manifest.state_digest,
                           .bytes = bytes});
    } catch (const base::Error&) {
      continue;  // without a valid manifest it does not exist
    }
  }
  std::ranges::sort(summaries, {}, &CheckpointSummary::step);
  return summaries;
}

std::optional<std::string> CheckpointStore::newest_good(std::vector<std::string>* problems) {
  std::vector<std::pair<std::int64_t, std::string>> candidates;
  for (const auto& name : files_.list(directory_)) {
    if (const auto step = step_of(name)) {
      candidates.emplace_back(*step, base::join_path(directory_, name));
    }
  }
  std::ranges::sort(candidates, std::greater{});
  for (const auto& [step, path] : candidates) {
    try {
      verify(open(path));
      return path;
    } catch (const base::Error& error) {
      if (problems != nullptr) problems->emplace_back(error.what());
    }
  }
  return std::nullopt;
}

LoadedManifest CheckpointStore::open(const std::string& path) {
  const auto manifest_path = base::join_path(path, kManifest);
  if (!files_.file_size(manifest_path)) {
    throw base::CheckpointError("checkpoint " + base::quote(path) +
                                " does not exist (there is no " + kManifest +
                                " in it); list those of a run with 'lockstep show RUN'");
  }
  LoadedManifest loaded;
  loaded.path = path;
  try {
    const auto json = nlohmann::ordered_json::parse(files_.read_text(manifest_path));
    if (json.at("format") != "lockstep-checkpoint") throw damaged(path, "its manifest is of something else");
    const auto version = json.at("version").get<int>();
    if (version > kFormatVersion) {
      throw base::CheckpointError("checkpoint " + base::quote(path) + " has format version " +
                                  std::to_string(version) + " (written by a newer Lockstep, this "
                                  "one reads up to " + std::to_string(kFormatVersion) +
                                  "); use that version");
    }
    loaded.info.step = json.at("step").get<std::int64_t>();
    loaded.info.epoch = json.at("epoch").get<std::int64_t>();
    loaded.info.metadata_json = json.at("metadata").dump();
    loaded.state_digest = json.at("state_digest").get<std::string>();
    for (const auto& entry : json.at("files")) {
      const auto name = entry.at("name").get<std::string>();
      if (name.find('/') != std::string::npos) throw damaged(path, "a file name with a slash");
      const auto file_path = base::join_path(path, name);
      auto header = parse_safetensors(files_, file_path);
      if (base::sha256_hex(serialize(header)) != entry.at("header_sha256").get<std::string>()) {
        throw damaged(path, "the header of '" + name + "' is not the one that was written");
      }
      const auto file = static_cast<int>(loaded.files.size());
      std::uint64_t end = 0;
      for (const auto& extent : entry.at("extents")) {
        loaded.extents.push_back({.file = file,
                                  .offset = extent.at("offset").get<std::uint64_t>(),
                                  .length = extent.at("length").get<std::uint64_t>()});
        loaded.digests.push_back(extent.at("sha256").get<std::string>());
        if (loaded.extents.back().offset != end) throw damaged(path, "its extents leave a hole");
        end += loaded.extents.back().length;
      }
      if (end != header.data_bytes()) throw damaged(path, "its extents do not cover '" + name + "'");
      loaded.files.push_back({.name = name, .header = std::move(header)});
    }
  } catch (const nlohmann::json::exception& error) {
    throw damaged(path, std::string("its manifest does not parse: ") + error.what());
  }
  if (state_digest(loaded.files, loaded.extents, loaded.digests) != loaded.state_digest) {
    throw damaged(path, "its manifest contradicts its own state_digest");
  }
  return loaded;
}

void CheckpointStore::require_same_state(const LoadedManifest& manifest,
                                         std::span<const StateFile> files,
                                         std::span<const StateExtent> extents) {
  const auto differs = [&](const std::string& what) {
    throw base::CheckpointError("checkpoint " + base::quote(manifest.path) +
                                " is of another model or optimizer (" + what +
                                "); resume it with the configuration it was made with");
  };
  if (manifest.files.size() != files.size()) differs("it has other files");
  for (std::size_t file = 0; file < files.size(); ++file) {
    const auto& theirs = manifest.files[file];
    const auto& ours = files[file];
    if (theirs.name != ours.name) differs("file '" + theirs.name + "' is unknown here");
    for (std::size_t i = 0; i < ours.header.tensors.size(); ++i) {
      const auto& wanted = ours.header.tensors[i];
      if (i >= theirs.header.tensors.size()) differs("tensor '" + wanted.name + "' is missing");
      const auto& found = theirs.header.tensors[i];
      if (found.name != wanted.name) {
        differs("it has tensor '" + found.name + "' where '" + wanted.name + "' is wanted");
      }
      if (found.shape != wanted.shape || found.dtype != wanted.dtype) {
        differs("tensor '" + wanted.name + "' has another shape or dtype");
      }
    }
    if (theirs.header.tensors.size() != ours.header.tensors.size()) differs("it has more tensors");
  }
  const auto same = [](const StateExtent& a, const StateExtent& b) {
    return a.file == b.file && a.offset == b.offset && a.length == b.length;
  };
  if (!std::ranges::equal(manifest.extents, extents, same)) differs("its extents are cut otherwise");
}

void CheckpointStore::read_extent(const LoadedManifest& manifest, int extent,
                                  std::span<std::byte> out) {
  const auto index = static_cast<std::size_t>(extent);
  const auto& place = manifest.extents.at(index);
  const auto& file = manifest.files.at(static_cast<std::size_t>(place.file));
  LOCKSTEP_EXPECT(out.size() == place.length, "a buffer of another length than its extent");
  files_.read_at(base::join_path(manifest.path, file.name),
                 serialize(file.header).size() + place.offset, out);
  if (base::sha256_hex(out) != manifest.digests[index]) {
    throw damaged(manifest.path, "bytes " + std::to_string(place.offset) + " to " +
                                     std::to_string(place.offset + place.length) +
                                     " of the data in '" + file.name +
                                     "' are not what was written; they belong to " +
                                     tensors_at(file.header, place.offset,
                                                place.offset + place.length));
  }
}

void CheckpointStore::verify(const LoadedManifest& manifest) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < manifest.extents.size(); ++i) {
    bytes.resize(manifest.extents[i].length);
    read_extent(manifest, static_cast<int>(i), bytes);
  }
}

}  // namespace lockstep::checkpoints
