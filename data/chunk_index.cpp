#include "data/chunk_index.hpp"

#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "data/hdf5_driver.hpp"
#include "data/result_cache.hpp"

namespace lockstep::data::detail {
namespace {

const char* const kRemakeAdvice = "the file is damaged; copy or make it again";

/// Below this, asking HDF5 takes no longer than reading the cache.
constexpr std::size_t kFewChunks = 1024;
constexpr std::size_t kMostEntries = 256;
const char* const kExtension = ".chunks";

/// An entry: the eight bytes, the checksum of all that follows, the length of the identity, the
/// identity, the places.
constexpr std::array<char, 8> kMagic = {'L', 'S', 'C', 'H', 'U', 'N', 'K', '1'};
static_assert(sizeof(ChunkPlace) == 16);

/// Without the device, whose number differs between the hosts of a shared file system.
std::string identity_of(const FileStamp& stamp, const std::string& dataset) {
  return std::to_string(stamp.inode) + " " + std::to_string(stamp.size) + " " +
         std::to_string(stamp.modified.count()) + " " + std::to_string(stamp.changed.count()) +
         " " + dataset;
}

std::string entry_name(const std::string& identity) {
  return base::to_hex(base::xxh3_128(std::as_bytes(std::span(identity)))) + kExtension;
}

template <class T>
void append(std::vector<std::byte>& bytes, std::span<const T> values) {
  const auto more = std::as_bytes(values);
  bytes.insert(bytes.end(), more.begin(), more.end());
}

/// Bytes of the chunk at `corner`, 0 when it was never written, which HDF5 calls an error.
std::uint64_t stored_bytes(Hdf5Id dataset, const std::vector<hsize_t>& corner,
                           const std::string& problem) {
  hsize_t bytes = 0;
  if (H5Dget_chunk_storage_size(dataset, corner.data(), &bytes) >= 0) return bytes;
  const auto reason = hdf5_reason();
  if (reason.ends_with("chunk storage is not allocated")) return 0;
  throw base::DataError(problem + " (H5Dget_chunk_storage_size: " + reason + "); " + kRemakeAdvice);
}

}  // namespace

std::vector<std::int64_t> chunk_grid(const StoredColumn& column) {
  std::vector<std::int64_t> grid;
  for (std::size_t i = 0; i < column.extent.size(); ++i) {
    grid.push_back((column.extent[i] + column.chunk[i] - 1) / column.chunk[i]);
  }
  return grid;
}

std::size_t chunk_count(const StoredColumn& column) {
  std::size_t chunks = 1;
  for (const auto length : chunk_grid(column)) chunks *= static_cast<std::size_t>(length);
  return chunks;
}

ChunkIndex read_chunk_index(Hdf5Id file, Hdf5Id dataset, const StoredColumn& column,
                            const std::string& what, std::uint64_t file_bytes) {
  const auto problem = what + " has a chunk that cannot be found";
  const auto grid = chunk_grid(column);
  ChunkIndex index(chunk_count(column));
  RawReadProbe probe(file);
  std::vector<std::byte> unused;
  std::vector<std::int64_t> at(grid.size(), 0);
  std::vector<hsize_t> corner(grid.size(), 0);
  for (auto& place : index) {
    const auto bytes = stored_bytes(dataset, corner, problem);
    if (bytes > file_bytes) {
      throw base::DataError(problem + " (it claims " + base::format_bytes(bytes) + "); " +
                            kRemakeAdvice);
    }
    if (bytes > 0) {
      if (unused.size() < bytes) unused.resize(bytes);
      std::uint32_t mask = 0;
      read_checked(H5Dread_chunk(dataset, H5P_DEFAULT, corner.data(), &mask, unused.data()),
                   "H5Dread_chunk", problem, kRemakeAdvice);
      const auto found = probe.take();
      if (!found || found->bytes != bytes || found->offset > file_bytes ||
          bytes > file_bytes - found->offset) {
        throw base::DataError(problem + " (it lies beyond the end of the file); " + kRemakeAdvice);
      }
      place = {found->offset, static_cast<std::uint32_t>(bytes), mask};
    }
    for (auto axis = grid.size(); axis-- > 0;) {
      at[axis] = at[axis] + 1 == grid[axis] ? 0 : at[axis] + 1;
      corner[axis] = static_cast<hsize_t>(at[axis] * column.chunk[axis]);
      if (at[axis] != 0) break;
    }
  }
  return index;
}

std::optional<ChunkIndex> ChunkIndexCache::find(const FileDescriptor& file,
                                                const std::string& dataset,
                                                std::size_t chunks) const {
  if (folder_.empty() || chunks < kFewChunks) return std::nullopt;
  const auto identity = identity_of(file.stamp(), dataset);
  const auto path = base::join_path(folder_, entry_name(identity));
  try {
    const auto header = kMagic.size() + 16 + sizeof(std::uint64_t) + identity.size();
    const auto size = header + chunks * sizeof(ChunkPlace);
    auto& files = base::FileSystem::posix();
    if (files.file_size(path) != size) return std::nullopt;
    std::vector<std::byte> bytes(size);
    files.read_at(path, 0, bytes);
    const auto body = std::span<const std::byte>(bytes).subspan(kMagic.size() + 16);
    const auto sum = base::xxh3_128(body);
    if (std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0 ||
        std::memcmp(bytes.data() + kMagic.size(), sum.data(), sum.size()) != 0 ||
        std::memcmp(body.data() + sizeof(std::uint64_t), identity.data(), identity.size()) != 0) {
      return std::nullopt;
    }
    ChunkIndex index(chunks);
    std::memcpy(index.data(), bytes.data() + header, chunks * sizeof(ChunkPlace));
    const bool inside = std::all_of(index.begin(), index.end(), [&](const ChunkPlace& place) {
      return place.offset <= file.size() && place.bytes <= file.size() - place.offset;
    });
    if (!inside) return std::nullopt;
    return index;
  } catch (const base::Error&) {
    return std::nullopt;
  }
}

void ChunkIndexCache::keep(const FileDescriptor& file, const std::string& dataset,
                           std::span<const ChunkPlace> index) const {
  if (folder_.empty() || index.size() < kFewChunks) return;
  try {
    const auto stamp = file.stamp();
    const auto age = base::Clock::system().wall() - std::max(stamp.modified, stamp.changed);
    if (age < settled_) return;
    const auto identity = identity_of(stamp, dataset);
    std::vector<std::byte> body;
    const std::uint64_t length = identity.size();
    append<std::uint64_t>(body, {&length, 1});
    append<char>(body, identity);
    append<ChunkPlace>(body, index);
    std::vector<std::byte> bytes;
    append<char>(bytes, kMagic);
    append<std::uint8_t>(bytes, base::xxh3_128(body));
    bytes.insert(bytes.end(), body.begin(), body.end());

    auto& files = base::FileSystem::posix();
    files.make_directories(folder_);
    const auto path = base::join_path(folder_, entry_name(identity));
    const auto temporary = path + ".tmp-" + std::to_string(::getpid());
    files.open(temporary, base::OpenMode::kCreate)->append(bytes);
    files.rename(temporary, path);
    keep_newest(folder_, kExtension, kMostEntries);
  } catch (const std::exception&) {
    // It is learned again next time.
  }
}

}  // namespace lockstep::data::detail
