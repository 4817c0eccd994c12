#include "checkpoints/extent_writer.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>
#include <utility>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/sha256_pair.hpp"

namespace lockstep::checkpoints {

std::string digest_lines(std::span<const ExtentDigest> digests) {
  std::string lines;
  for (const auto& digest : digests) {
    lines += std::to_string(digest.extent) + " " + digest.sha256 + "\n";
  }
  return lines;
}

bool read_digest_lines(std::string_view lines, std::span<std::string> digests) {
  constexpr std::size_t kDigestLength = 64;
  while (!lines.empty()) {
    std::size_t extent = 0;
    const auto [end, error] = std::from_chars(lines.data(), lines.data() + lines.size(), extent);
    lines.remove_prefix(static_cast<std::size_t>(end - lines.data()));
    if (error != std::errc() || extent >= digests.size() || !digests[extent].empty() ||
        lines.size() < kDigestLength + 2 || lines[0] != ' ' || lines[kDigestLength + 1] != '\n') {
      return false;
    }
    const auto digest = lines.substr(1, kDigestLength);
    if (digest.find_first_not_of("0123456789abcdef") != std::string_view::npos) return false;
    digests[extent] = digest;
    lines.remove_prefix(kDigestLength + 2);
  }
  return true;
}

namespace detail {
namespace {

/// Hashed piece by piece and written in runs of some pieces, so that bytes are still in the cache
/// for their second use.
constexpr std::size_t kPieceBytes = std::size_t{1} << 19;
constexpr std::size_t kRunBytes = std::size_t{1} << 20;

/// Joins bytes that lie together in memory and in the file into long writes of whole pages.
class RunWriter {
 public:
  RunWriter(base::WritableFile& out, WriteMode mode) : out_(out), mode_(mode) {}

  void add(std::uint64_t place, std::span<const std::byte> piece) {
    if (piece.empty()) return;
    const bool follows =
        place == place_ + bytes_.size() && piece.data() == bytes_.data() + bytes_.size();
    if (!follows) flush();
    if (bytes_.empty()) place_ = place;
    bytes_ = {bytes_.empty() ? piece.data() : bytes_.data(), bytes_.size() + piece.size()};
    if (bytes_.size() < kRunBytes) return;
    const auto end = (place_ + bytes_.size()) / base::kDirectBytes * base::kDirectBytes;
    write(static_cast<std::size_t>(end - place_));
  }

  void flush() { write(bytes_.size()); }

 private:
  void write(std::size_t count) {
    if (count > 0 && mode_ == WriteMode::kPastCache) {
      out_.write_through(place_, bytes_.first(count));
    } else if (count > 0) {
      out_.write_early(place_, bytes_.first(count));
    }
    place_ += count;
    bytes_ = bytes_.subspan(count);
  }

  base::WritableFile& out_;
  WriteMode mode_;
  std::uint64_t place_ = 0;
  std::span<const std::byte> bytes_;
};

/// Writes extents of one file.
class FileWriter {
 public:
  FileWriter(base::WritableFile& out, WriteMode mode, const std::function<void()>& after_piece)
      : after_piece_(after_piece), run_(out, mode), other_run_(out, mode) {}

  struct Extent {
    std::uint64_t place;
    std::span<const std::byte> bytes;
  };

  std::string write(const Extent& extent) {
    base::Sha256 hash;
    for (std::size_t at = 0; at < extent.bytes.size(); at += kPieceBytes) {
      const auto piece = piece_at(extent, at);
      hash.update(piece);
      run_.add(extent.place + at, piece);
      if (after_piece_) after_piece_();
    }
    return base::to_hex(hash.finish());
  }

  /// Two of one length, hashed together.
  std::array<std::string, 2> write(const Extent& one, const Extent& other) {
    const bool long_ones = one.bytes.size() > kPieceBytes;
    for (std::size_t at = 0; at < one.bytes.size(); at += kPieceBytes) {
      const auto piece = piece_at(one, at), other_piece = piece_at(other, at);
      pair_.update(piece, other_piece);
      run_.add(one.place + at, piece);
      // Short neighbours make one run; long ones would cut each other's.
      (long_ones ? other_run_ : run_).add(other.place + at, other_piece);
      if (after_piece_) after_piece_();
    }
    other_run_.flush();
    const auto digests = pair_.finish();
    return {base::to_hex(digests[0]), base::to_hex(digests[1])};
  }

  void flush() { run_.flush(); }

 private:
  static std::span<const std::byte> piece_at(const Extent& extent, std::size_t at) {
    return extent.bytes.subspan(at, std::min(kPieceBytes, extent.bytes.size() - at));
  }

  const std::function<void()>& after_piece_;
  RunWriter run_, other_run_;
  base::Sha256Pair pair_;
};

}  // namespace

std::vector<ExtentDigest> write_extents(base::FileSystem& file_system, const std::string& directory,
                                        std::span<const StateFile> files,
                                        std::span<const StateExtent> extents,
                                        std::span<const OwnedExtent> owned, WriteMode mode,
                                        const std::function<void()>& after_piece) {
  std::vector<std::vector<const OwnedExtent*>> owned_of_file(files.size());
  for (const auto& own : owned) {
    LOCKSTEP_EXPECT(std::cmp_less(own.extent, extents.size()), "an extent out of range");
    const auto& extent = extents[static_cast<std::size_t>(own.extent)];
    LOCKSTEP_EXPECT(own.bytes.size() == extent.length, "an extent of another length");
    owned_of_file.at(static_cast<std::size_t>(extent.file)).push_back(&own);
  }
  std::vector<ExtentDigest> digests;
  for (std::size_t file = 0; file < files.size(); ++file) {
    const auto& mine = owned_of_file[file];
    if (mine.empty()) continue;
    const auto data_begin = file_prefix(files[file].header).size();
    const auto out =
        file_system.open(base::join_path(directory, files[file].name), base::OpenMode::kExisting);
    FileWriter writer(*out, mode, after_piece);
    const auto extent_of = [&](const OwnedExtent& own) {
      const auto offset = extents[static_cast<std::size_t>(own.extent)].offset;
      return FileWriter::Extent{.place = data_begin + offset, .bytes = own.bytes};
    };
    for (std::size_t i = 0; i < mine.size();) {
      const auto& own = *mine[i];
      if (i + 1 < mine.size() && own.bytes.size() == mine[i + 1]->bytes.size()) {
        auto found = writer.write(extent_of(own), extent_of(*mine[i + 1]));
        digests.push_back({.extent = own.extent, .sha256 = std::move(found[0])});
        digests.push_back({.extent = mine[i + 1]->extent, .sha256 = std::move(found[1])});
        i += 2;
      } else {
        digests.push_back({.extent = own.extent, .sha256 = writer.write(extent_of(own))});
        ++i;
      }
    }
    writer.flush();
    out->sync();
  }
  return digests;
}

}  // namespace detail
}  // namespace lockstep::checkpoints
