#include "data/fingerprint.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/hash.hpp"
#include "data/block_hashes.hpp"
#include "data/file_descriptor.hpp"
#include "data/result_cache.hpp"

namespace lockstep::data {
namespace {

// Do not change: part of the format, see README.md.
constexpr std::uint64_t kSampleBytes = std::uint64_t{64} << 10;
constexpr std::uint64_t kSamples = 16;

const char* const kKind = "fingerprint";
constexpr std::chrono::seconds kRacy{2};
constexpr std::size_t kDigits = 64;

/// One entry a file: a changed file replaces what was known of it.
std::string key_of(const detail::FileStamp& stamp) {
  return "device " + std::to_string(stamp.device) + " inode " + std::to_string(stamp.inode);
}

bool is_racy(const detail::FileStamp& stamp, base::Clock::Duration read_at) {
  return read_at - std::max(stamp.modified, stamp.changed) < kRacy;
}

std::optional<std::string> recall(const ResultCache& cache, const detail::FileStamp& stamp) {
  const auto text = cache.load(kKind, key_of(stamp));
  if (!text) return std::nullopt;
  const auto entry = nlohmann::json::parse(*text, nullptr, false);
  const auto number = [&](const char* name) { return entry.value(name, std::int64_t{-1}); };
  try {
    const detail::FileStamp known{.device = stamp.device,
                                  .inode = stamp.inode,
                                  .size = entry.value("size", std::uint64_t{0}),
                                  .modified = base::Clock::Duration(number("mtime_ns")),
                                  .changed = base::Clock::Duration(number("ctime_ns"))};
    auto digest = entry.value("fingerprint", std::string());
    if (known != stamp || digest.size() != kDigits ||
        is_racy(stamp, base::Clock::Duration(number("read_at_ns")))) {
      return std::nullopt;
    }
    return digest;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

void remember(const ResultCache& cache, const detail::FileStamp& stamp,
              base::Clock::Duration read_at, const std::string& digest) {
  nlohmann::ordered_json entry;
  entry["size"] = stamp.size;
  entry["mtime_ns"] = stamp.modified.count();
  entry["ctime_ns"] = stamp.changed.count();
  entry["read_at_ns"] = read_at.count();
  entry["fingerprint"] = digest;
  cache.store(kKind, key_of(stamp), entry.dump());
}

}  // namespace

std::string fingerprint(const std::string& path, const FingerprintOptions& options) {
  const detail::FileDescriptor file(path);
  const ResultCache cache(options.cache_directory);
  const auto stamp = file.stamp();
  if (auto known = recall(cache, stamp)) return *known;

  const auto read_at = options.clock->wall();
  auto digest = detail::digest_of(file.size(), detail::block_hashes(file, options.threads));
  // A file that changed while it was read is nobody's.
  if (!is_racy(stamp, read_at) && file.stamp() == stamp) remember(cache, stamp, read_at, digest);
  return digest;
}

std::string quick_identity(const std::string& path) {
  const detail::FileDescriptor file(path);
  const auto size = file.size();
  const auto length = std::min(size, kSampleBytes);
  std::vector<std::byte> block(length);
  std::vector<detail::BlockHash> hashes;
  for (std::uint64_t i = 0; i < kSamples; ++i) {
    // The first sample starts the file, the last one ends it.
    file.read_at((size - length) / (kSamples - 1) * i +
                     (i == kSamples - 1 ? (size - length) % (kSamples - 1) : 0),
                 block);
    hashes.push_back(base::xxh3_128(block));
  }
  return detail::digest_of(size, hashes);
}

}  // namespace lockstep::data
