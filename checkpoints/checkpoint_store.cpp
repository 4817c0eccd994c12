#include "checkpoints/checkpoint_store.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <utility>

#include "base/error.hpp"
#include "base/sha256_pair.hpp"
#include "base/text.hpp"
#include "checkpoints/extent_writer.hpp"

namespace lockstep::checkpoints {
namespace {

// Do not change: part of the format, see FORMAT.md.
constexpr char kPrefix[] = "step-";
constexpr char kPartialSuffix[] = ".partial";    // a save under way
constexpr char kReplacedSuffix[] = ".replaced";  // the old one while a new one takes its name
constexpr char kRemovedSuffix[] = ".removed";    // about to go

std::string name_of(std::int64_t step) {
  char text[32];
  std::snprintf(text, sizeof text, "%s%08lld", kPrefix, static_cast<long long>(step));
  return text;
}

std::string hidden_name(std::int64_t step, const char* suffix) {
  return "." + name_of(step) + suffix;
}

/// The step of a name as `name_of` makes it.
std::optional<std::int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const auto digits = name.substr(sizeof kPrefix - 1);
  std::int64_t step = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  const bool whole = code == std::errc{} && end == digits.data() + digits.size();
  if (!whole || step < 0 || name_of(step) != name) return std::nullopt;
  return step;
}

/// The step of `.step-00000412` + suffix.
std::optional<std::int64_t> hidden_step_of(std::string_view name, std::string_view suffix) {
  if (!name.starts_with('.') || !name.ends_with(suffix)) return std::nullopt;
  return step_of(name.substr(1, name.size() - 1 - suffix.size()));
}

/// Names of the tensors that bytes [begin, end) of a file's data belong to, a few of them.
std::string tensors_at(const SafetensorsHeader& header, std::uint64_t begin, std::uint64_t end) {
  std::vector<std::string> names;
  for (const auto& tensor : header.tensors) {
    if (tensor.begin < end && begin < tensor.end) names.push_back(base::quote(tensor.name));
  }
  const auto count = names.size();
  if (count > 3) {
    names.resize(3);
    return base::joined(names) + " and " + std::to_string(count - 3) + " more";
  }
  return base::joined(names);
}

std::string digests_of(const SaveTicket& ticket, int rank) {
  return base::join_path(ticket.directory, "digests-" + std::to_string(rank));
}

}  // namespace

CheckpointStore::CheckpointStore(base::FileSystem& files, std::string directory,
                                 const base::Clock& clock)
    : files_(files), directory_(std::move(directory)), clock_(clock) {}

SaveTicket CheckpointStore::ticket_of(std::int64_t step) const {
  return {base::join_path(directory_, hidden_name(step, kPartialSuffix))};
}

SaveTicket CheckpointStore::begin(std::int64_t step, std::span<const StateFile> files,
                                  std::span<const StateExtent> extents, const std::string& like) {
  require_tiling(files, extents);
  files_.make_directories(directory_);
  files_.sync_directory(base::parent_path(directory_));
  tidy();
  auto ticket = ticket_of(step);
  std::uint64_t bytes = 0;
  for (const auto& extent : extents) {
    const bool there = !like.empty() && files[static_cast<std::size_t>(extent.file)].frozen;
    if (!there) bytes += extent.length;
  }
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
    ticket.frozen_is_there = link_frozen(files, like, ticket.directory);
    for (const auto& file : files) {
      if (file.frozen && ticket.frozen_is_there) continue;
      const auto header = file_prefix(file.header);
      const auto out =
          files_.open(base::join_path(ticket.directory, file.name), base::OpenMode::kCreate);
      out->append(header);
      out->reserve(header.size() + file.header.data_bytes());
      out->sync();
    }
    files_.sync_directory(ticket.directory);
  } catch (...) {
    abandon(ticket);
    throw;
  }
  return ticket;
}

bool CheckpointStore::link_frozen(std::span<const StateFile> files, const std::string& like,
                                  const std::string& directory) {
  if (like.empty()) return false;
  bool any = false;
  std::vector<std::string> made;
  for (const auto& file : files) {
    if (!file.frozen) continue;
    any = true;
    const auto name = base::join_path(directory, file.name);
    try {
      files_.link(base::join_path(like, file.name), name);
      made.push_back(name);
    } catch (const base::IoError&) {
      // Too many names, no such thing here, or it was removed by hand: they are written again.
      for (const auto& one : made) files_.remove_all(one);
      return false;
    }
  }
  return any;
}

std::vector<ExtentDigest> CheckpointStore::write_extents(const SaveTicket& ticket,
                                                         std::span<const StateFile> files,
                                                         std::span<const StateExtent> extents,
                                                         std::span<const OwnedExtent> owned,
                                                         WriteMode mode,
                                                         const std::function<void()>& after_piece) {
  return detail::write_extents(files_, ticket.directory, files, extents, owned, mode, after_piece);
}

void CheckpointStore::leave_digests(const SaveTicket& ticket, int rank,
                                    std::span<const ExtentDigest> mine) {
  const auto file = files_.open(digests_of(ticket, rank), base::OpenMode::kCreate);
  file->append(digest_lines(mine));
}

std::vector<std::string> CheckpointStore::collect_digests(const SaveTicket& ticket, int ranks,
                                                          std::size_t extents) {
  std::vector<std::string> digests(extents);
  for (int rank = 1; rank < ranks; ++rank) {
    const auto path = digests_of(ticket, rank);
    if (!read_digest_lines(files_.read_text(path), digests)) {
      throw base::CheckpointError("file " + base::quote(path) +
                                  " is not what its rank has left (the file system shows ranks "
                                  "different files, or somebody writes there); save again");
    }
    files_.remove_all(path);
  }
  return digests;
}

std::string CheckpointStore::commit(const SaveTicket& ticket, std::span<const StateFile> files,
                                    std::span<const StateExtent> extents,
                                    std::span<const std::string> digests,
                                    const CheckpointInfo& info) {
  files_.write_atomically(
      base::join_path(ticket.directory, kManifestName),
      manifest_text(files, extents, digests, info, base::format_utc(clock_.wall())));

  auto path = base::join_path(directory_, name_of(info.step));
  const auto replaced = base::join_path(directory_, hidden_name(info.step, kReplacedSuffix));
  const bool again = files_.is_directory(path);
  // Between the two renames the old one is found under its hidden name, see places().
  if (again) files_.rename(path, replaced);
  files_.rename(ticket.directory, path);
  files_.sync_directory(directory_);
  committed_ = info.step;
  if (again) {
    try {
      remove({.step = info.step, .path = replaced});
    } catch (const base::IoError&) {
      // The new one is durable; the next save tidies.
    }
  }
  return path;
}

void CheckpointStore::abandon(const SaveTicket& ticket) noexcept {
  try {
    files_.remove_all(ticket.directory);
  } catch (const std::exception&) {
    // What stays is hidden, and removed by the next save.
  }
}

std::vector<CheckpointStore::Place> CheckpointStore::places() {
  std::vector<Place> places;
  const auto names = files_.list(directory_);
  for (const auto& name : names) {
    auto step = step_of(name);
    if (!step) {
      // A crash while a checkpoint was replaced left the old one hidden and no new one.
      step = hidden_step_of(name, kReplacedSuffix);
      if (step && std::ranges::binary_search(names, name_of(*step))) step.reset();
    }
    if (step) places.push_back({.step = *step, .path = base::join_path(directory_, name)});
  }
  std::ranges::sort(places, {}, &Place::step);
  return places;
}

void CheckpointStore::tidy() {
  const auto names = files_.list(directory_);
  for (const auto& name : names) {
    const auto path = base::join_path(directory_, name);
    if (hidden_step_of(name, kPartialSuffix) || hidden_step_of(name, kRemovedSuffix)) {
      files_.remove_all(path);
    } else if (const auto step = hidden_step_of(name, kReplacedSuffix)) {
      if (std::ranges::binary_search(names, name_of(*step))) {
        remove({.step = *step, .path = path});
      } else {
        files_.rename(path, base::join_path(directory_, name_of(*step)));
        files_.sync_directory(directory_);
      }
    }
  }
}

void CheckpointStore::remove(const Place& place) {
  // Under another name first: a directory that is half removed must not look like a checkpoint.
  const auto removed = base::join_path(directory_, hidden_name(place.step, kRemovedSuffix));
  files_.remove_all(removed);
  files_.rename(place.path, removed);
  files_.sync_directory(directory_);
  files_.remove_all(removed);
}

void CheckpointStore::retain(const Retention& retention) {
  tidy();
  if (committed_) remove_after(*committed_);
  std::vector<Place> valid;
  for (const auto& summary : list()) {
    if (summary.valid) valid.push_back({.step = summary.step, .path = summary.path});
  }
  const auto newest = static_cast<std::size_t>(std::max<std::int64_t>(retention.keep, 1));
  const auto stays = [&](std::int64_t step) {
    return step == retention.best_step || step == retention.rollback_step ||
           (retention.every_steps > 0 && step % retention.every_steps == 0);
  };
  for (std::size_t i = 0; i + newest < valid.size(); ++i) {
    if (!stays(valid[i].step)) remove(valid[i]);
  }
}

void CheckpointStore::remove_after(std::int64_t step) {
  for (const auto& place : places()) {
    if (place.step > step) remove(place);
  }
}

std::vector<CheckpointSummary> CheckpointStore::list() {
  std::vector<CheckpointSummary> summaries;
  for (const auto& place : places()) {
    CheckpointSummary summary;
    summary.path = place.path;
    summary.step = place.step;
    try {
      const auto manifest = open(place.path);
      summary.epoch = manifest.info.epoch;
      summary.state_digest = manifest.state_digest;
      for (const auto& extent : manifest.extents) summary.bytes += extent.length;
    } catch (const base::Error& error) {
      summary.valid = false;
      summary.problem = error.what();
    }
    summaries.push_back(std::move(summary));
  }
  return summaries;
}

std::optional<std::string> CheckpointStore::newest_good(std::vector<std::string>* problems,
                                                        const Suits& suits) {
  auto candidates = places();
  std::ranges::reverse(candidates);
  for (const auto& candidate : candidates) {
    try {
      if (suits && !suits(candidate.step)) continue;
      verify(open(candidate.path));
      return candidate.path;
    } catch (const base::Error& error) {
      if (problems != nullptr) problems->emplace_back(error.what());
    }
  }
  return std::nullopt;
}

LoadedManifest CheckpointStore::open(const std::string& path) {
  return read_manifest(files_, path);
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
    if (theirs.name != ours.name) differs("file " + base::quote(theirs.name) + " is unknown here");
    for (std::size_t i = 0; i < ours.header.tensors.size(); ++i) {
      const auto& wanted = ours.header.tensors[i];
      const auto name = "tensor " + base::quote(wanted.name);
      if (i >= theirs.header.tensors.size()) differs(name + " is missing");
      const auto& found = theirs.header.tensors[i];
      if (found.name != wanted.name) {
        differs("it has tensor " + base::quote(found.name) + " where " + base::quote(wanted.name) +
                " is wanted");
      }
      if (found.shape != wanted.shape || found.dtype != wanted.dtype) {
        differs(name + " has another shape or dtype");
      }
      if (found.begin != wanted.begin) differs(name + " lies elsewhere");
    }
    if (theirs.header.tensors.size() != ours.header.tensors.size()) differs("it has more tensors");
  }
  if (!std::ranges::equal(manifest.extents, extents)) differs("its extents are cut otherwise");
}

void CheckpointStore::read_extents(const LoadedManifest& manifest,
                                   std::span<const ReadExtent> wanted) {
  // Two at a time, so that they are still in the cache when they are hashed.
  for (std::size_t begin = 0; begin < wanted.size(); begin += 2) {
    const auto some = wanted.subspan(begin, std::min<std::size_t>(2, wanted.size() - begin));
    std::vector<std::span<const std::byte>> read;
    for (const auto& [extent, out] : some) {
      LOCKSTEP_EXPECT(std::cmp_less(extent, manifest.extents.size()), "an extent out of range");
      const auto& place = manifest.extents[static_cast<std::size_t>(extent)];
      const auto file = static_cast<std::size_t>(place.file);
      LOCKSTEP_EXPECT(out.size() == place.length, "a buffer of another length than its extent");
      files_.read_at(base::join_path(manifest.path, manifest.files[file].name),
                     manifest.data_offsets[file] + place.offset, out);
      read.push_back(out);
    }
    const auto digests = base::sha256_hex_each(read);
    for (std::size_t i = 0; i < some.size(); ++i) {
      require_digest(manifest, some[i].extent, digests[i]);
    }
  }
}

void CheckpointStore::read_extent(const LoadedManifest& manifest, int extent,
                                  std::span<std::byte> out) {
  const ReadExtent wanted{.extent = extent, .out = out};
  read_extents(manifest, {&wanted, 1});
}

void CheckpointStore::require_digest(const LoadedManifest& manifest, int extent,
                                     const std::string& digest) {
  const auto index = static_cast<std::size_t>(extent);
  if (digest == manifest.digests[index]) return;
  const auto& place = manifest.extents[index];
  const auto& file = manifest.files[static_cast<std::size_t>(place.file)];
  const auto end = place.offset + place.length;
  throw damaged_checkpoint(manifest.path, "bytes " + std::to_string(place.offset) + " to " +
                                              std::to_string(end) + " of the data in " +
                                              base::quote(file.name) +
                                              " are not what was written; they belong to " +
                                              tensors_at(file.header, place.offset, end));
}

void CheckpointStore::verify(const LoadedManifest& manifest) {
  std::array<std::vector<std::byte>, 2> bytes;
  for (std::size_t begin = 0; begin < manifest.extents.size(); begin += 2) {
    std::vector<ReadExtent> wanted;
    for (auto i = begin; i < std::min(begin + 2, manifest.extents.size()); ++i) {
      auto& room = bytes[i - begin];
      room.resize(manifest.extents[i].length);
      wanted.push_back({.extent = static_cast<int>(i), .out = room});
    }
    read_extents(manifest, wanted);
  }
}

}  // namespace lockstep::checkpoints
