#include "data/result_cache.hpp"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/file_system.hpp"
#include "base/hash.hpp"

namespace lockstep::data {
namespace {

namespace fs = std::filesystem;

constexpr int kVersion = 1;
constexpr std::uint64_t kMostEntryBytes = std::uint64_t{64} << 20;
/// A year of daily work on many files; more are old ones.
constexpr std::size_t kMostEntries = 1000;

std::string checksum_of(const std::string& text) {
  return base::to_hex(base::xxh3_128(std::as_bytes(std::span(text.data(), text.size()))));
}

}  // namespace

std::string ResultCache::entry_path(const std::string& kind, const std::string& key) const {
  return base::join_path(directory_, kind + "-" + checksum_of(key) + ".json");
}

std::optional<std::string> ResultCache::load(const std::string& kind,
                                             const std::string& key) const noexcept {
  if (directory_.empty()) return std::nullopt;
  try {
    auto& files = base::FileSystem::posix();
    const auto path = entry_path(kind, key);
    const auto size = files.file_size(path);
    if (!size || *size > kMostEntryBytes) return std::nullopt;
    const auto entry = nlohmann::json::parse(files.read_text(path));
    auto value = entry.at("value").get<std::string>();
    if (entry.at("version") != kVersion || entry.at("key") != key ||
        entry.at("checksum") != checksum_of(value)) {
      return std::nullopt;
    }
    return value;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

void ResultCache::store(const std::string& kind, const std::string& key,
                        const std::string& value) const noexcept {
  if (directory_.empty()) return;
  try {
    nlohmann::ordered_json entry;
    entry["version"] = kVersion;
    entry["key"] = key;
    entry["checksum"] = checksum_of(value);
    entry["value"] = value;
    auto& files = base::FileSystem::posix();
    files.make_directories(directory_);
    files.write_atomically(entry_path(kind, key), entry.dump() + "\n");
    keep_newest(directory_, ".json", kMostEntries);
  } catch (const std::exception&) {
    // The next command computes it again.
  }
}

void keep_newest(const std::string& directory, const std::string& extension, std::size_t most) {
  std::vector<std::pair<fs::file_time_type, fs::path>> entries;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() == extension) {
      entries.emplace_back(entry.last_write_time(), entry.path());
    }
  }
  if (entries.size() <= most) return;
  std::sort(entries.begin(), entries.end());
  entries.resize(entries.size() - most);
  for (const auto& [time, path] : entries) fs::remove(path);
}

}  // namespace lockstep::data
