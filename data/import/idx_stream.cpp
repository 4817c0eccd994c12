#include "data/import/idx_stream.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/file_descriptor.hpp"

namespace lockstep::data::detail {
namespace {

/// Rows are held whole; nothing sensible has larger ones.
constexpr std::uint64_t kMostRowBytes = std::uint64_t{256} << 20;
/// Deflate makes at most 1032 bytes of one (zlib's technical details).
constexpr std::uint64_t kMostInflation = 1032;
constexpr unsigned kBufferBytes = 1u << 18;

const char* const kIdxAdvice = "give a file of the MNIST family, plain or gzip";
const char* const kCopyAdvice = "fetch it again";

DType dtype_of_code(std::uint8_t code) {
  switch (code) {
    case 0x08: return DType::kU8;
    case 0x09: return DType::kI8;
    case 0x0b: return DType::kI16;
    case 0x0c: return DType::kI32;
    case 0x0d: return DType::kF32;
    case 0x0e: return DType::kF64;
    default: return DType::kUnsupported;
  }
}

}  // namespace

struct IdxStream::Gzip {
  explicit Gzip(const std::string& path)
      : stored_bytes(FileDescriptor(path).size()), file(gzopen(path.c_str(), "rb")) {
    if (file == nullptr) {
      throw base::DataError("IDX file " + base::quote(path) +
                            " cannot be opened; check its permissions");
    }
    gzbuffer(file, kBufferBytes);
  }
  ~Gzip() { gzclose_r(file); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  std::uint64_t stored_bytes;
  gzFile file;
};

IdxStream::IdxStream(const std::string& path) : path_(path), gzip_(std::make_unique<Gzip>(path)) {
  read_header();
  check_claims();
}

IdxStream::~IdxStream() = default;

void IdxStream::read_header() {
  std::array<std::uint8_t, 4> magic{};
  if (read_some(std::as_writable_bytes(std::span(magic))) != magic.size()) {
    refuse("ends within its magic number", kIdxAdvice);
  }
  if (magic[0] != 0 || magic[1] != 0) {
    refuse("is not an IDX file (its first two bytes are not 0)", kIdxAdvice);
  }
  dtype_ = dtype_of_code(magic[2]);
  if (dtype_ == DType::kUnsupported) {
    refuse("has the unknown element type " + std::to_string(magic[2]) + " at byte 2", kIdxAdvice);
  }
  if (magic[3] == 0) refuse("has no dimensions at byte 3", kIdxAdvice);

  std::uint64_t row_bytes = size_of(dtype_);
  for (int i = 0; i < magic[3]; ++i) {
    std::array<std::uint8_t, 4> bytes{};
    if (read_some(std::as_writable_bytes(std::span(bytes))) != bytes.size()) {
      refuse("ends within its list of dimensions", kCopyAdvice);
    }
    const auto length = std::uint64_t{bytes[0]} << 24 | std::uint64_t{bytes[1]} << 16 |
                        std::uint64_t{bytes[2]} << 8 | std::uint64_t{bytes[3]};
    if (length == 0) {
      refuse("has dimension " + std::to_string(i) + " of length 0 before byte " +
                 std::to_string(offset_),
             kIdxAdvice);
    }
    shape_.push_back(static_cast<std::int64_t>(length));
    if (i == 0) continue;
    row_bytes *= length;
    if (row_bytes > kMostRowBytes) {
      refuse("claims rows larger than " + base::format_bytes(kMostRowBytes) + " before byte " +
                 std::to_string(offset_),
             kCopyAdvice);
    }
  }
  row_bytes_ = static_cast<std::size_t>(row_bytes);
}

void IdxStream::check_claims() const {
  const auto claimed = offset_ + static_cast<std::uint64_t>(shape_[0]) * row_bytes_;
  const bool packed = gzdirect(gzip_->file) == 0;
  const auto possible = packed ? gzip_->stored_bytes * kMostInflation : gzip_->stored_bytes;
  if (claimed > possible) {
    refuse("claims " + std::to_string(claimed) + " bytes, but the file of " +
               std::to_string(gzip_->stored_bytes) + " bytes ends before",
           kCopyAdvice);
  }
}

std::size_t IdxStream::read_some(std::span<std::byte> bytes) {
  std::size_t total = 0;
  while (total < bytes.size()) {
    const auto part =
        static_cast<unsigned>(std::min<std::size_t>(bytes.size() - total, std::size_t{1} << 30));
    const auto got = gzread(gzip_->file, bytes.data() + total, part);
    if (got < 0) {
      int code = 0;
      const std::string reason = gzerror(gzip_->file, &code);
      refuse("cannot be unpacked at byte " + std::to_string(offset_ + total) + " (" + reason + ")",
             kCopyAdvice);
    }
    if (got == 0) break;
    total += static_cast<std::size_t>(got);
  }
  offset_ += total;
  return total;
}

void IdxStream::read(std::span<std::byte> bytes) {
  if (read_some(bytes) != bytes.size()) {
    refuse("ends at byte " + std::to_string(offset_) + " of " +
               std::to_string(4 + 4 * shape_.size() +
                              static_cast<std::uint64_t>(shape_[0]) * row_bytes_) +
               " (it was cut short)",
           kCopyAdvice);
  }
}

void IdxStream::expect_end() {
  const auto end = offset_;
  std::byte extra{};
  if (read_some({&extra, 1}) != 0) {
    refuse("goes on after its last element at byte " + std::to_string(end), kCopyAdvice);
  }
  int code = Z_OK;
  gzerror(gzip_->file, &code);
  if (code != Z_OK && code != Z_STREAM_END) {
    refuse("has a damaged end after byte " + std::to_string(end), kCopyAdvice);
  }
}

void IdxStream::refuse(const std::string& problem, const std::string& advice) const {
  throw base::DataError("IDX file " + base::quote(path_) + " " + problem + "; " + advice);
}

}  // namespace lockstep::data::detail
