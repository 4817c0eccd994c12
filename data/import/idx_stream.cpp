#include "data/import/idx_stream.hpp"

#include <array>

#include "base/text.hpp"

namespace lockstep::data::detail {
namespace {

/// Rows are held whole; nothing sensible has larger ones.
constexpr std::uint64_t kMostRowBytes = std::uint64_t{256} << 20;
/// Deflate makes at most 1032 bytes of one (zlib's technical details).
constexpr std::uint64_t kMostInflation = 1032;

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

IdxStream::IdxStream(const std::string& path) : file_("IDX file", path) {
  read_header();
  check_claims();
}

void IdxStream::read_header() {
  std::array<std::uint8_t, 4> magic{};
  if (file_.read(std::as_writable_bytes(std::span(magic))) != magic.size()) {
    file_.refuse("ends within its magic number", kIdxAdvice);
  }
  if (magic[0] != 0 || magic[1] != 0) {
    file_.refuse("is not an IDX file (its first two bytes are not 0)", kIdxAdvice);
  }
  dtype_ = dtype_of_code(magic[2]);
  if (dtype_ == DType::kUnsupported) {
    file_.refuse("has the unknown element type " + std::to_string(magic[2]) + " at byte 2",
                 kIdxAdvice);
  }
  if (magic[3] == 0) file_.refuse("has no dimensions at byte 3", kIdxAdvice);

  std::uint64_t row_bytes = size_of(dtype_);
  for (int i = 0; i < magic[3]; ++i) {
    std::array<std::uint8_t, 4> bytes{};
    if (file_.read(std::as_writable_bytes(std::span(bytes))) != bytes.size()) {
      file_.refuse("ends within its list of dimensions", kCopyAdvice);
    }
    const auto length = std::uint64_t{bytes[0]} << 24 | std::uint64_t{bytes[1]} << 16 |
                        std::uint64_t{bytes[2]} << 8 | std::uint64_t{bytes[3]};
    if (length == 0) {
      file_.refuse("has dimension " + std::to_string(i) + " of length 0 before byte " +
                       std::to_string(file_.offset()),
                   kIdxAdvice);
    }
    shape_.push_back(static_cast<std::int64_t>(length));
    if (i == 0) continue;
    row_bytes *= length;
    if (row_bytes > kMostRowBytes) {
      file_.refuse("claims rows larger than " + base::format_bytes(kMostRowBytes) +
                       " before byte " + std::to_string(file_.offset()),
                   kCopyAdvice);
    }
  }
  row_bytes_ = static_cast<std::size_t>(row_bytes);
}

void IdxStream::check_claims() const {
  const auto claimed = file_.offset() + static_cast<std::uint64_t>(shape_[0]) * row_bytes_;
  const auto possible =
      file_.packed() ? file_.stored_bytes() * kMostInflation : file_.stored_bytes();
  if (claimed > possible) {
    file_.refuse("claims " + std::to_string(claimed) + " bytes, but the file of " +
                     std::to_string(file_.stored_bytes()) + " bytes ends before",
                 kCopyAdvice);
  }
}

void IdxStream::read(std::span<std::byte> bytes) {
  if (file_.read(bytes) != bytes.size()) {
    file_.refuse("ends at byte " + std::to_string(file_.offset()) + " of " +
                     std::to_string(4 + 4 * shape_.size() +
                                    static_cast<std::uint64_t>(shape_[0]) * row_bytes_) +
                     " (it was cut short)",
                 kCopyAdvice);
  }
}

void IdxStream::expect_end() {
  const auto end = file_.offset();
  std::byte extra{};
  if (file_.read({&extra, 1}) != 0) {
    file_.refuse("goes on after its last element at byte " + std::to_string(end), kCopyAdvice);
  }
  file_.check_end();
}

}  // namespace lockstep::data::detail
