#include "data/import/gzip_reader.hpp"

#include <zlib.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/file_descriptor.hpp"

namespace lockstep::data::detail {
namespace {

constexpr unsigned kBufferBytes = 1u << 18;
constexpr std::size_t kMostAtOnce = std::size_t{1} << 30;

gzFile handle_of(void* file) { return static_cast<gzFile>(file); }

}  // namespace

void GzipReader::Close::operator()(void* file) const { gzclose_r(handle_of(file)); }

GzipReader::GzipReader(std::string what, const std::string& path)
    : what_(std::move(what)),
      path_(path),
      stored_bytes_(FileDescriptor(path).size()),
      file_(gzopen(path.c_str(), "rb")) {
  if (!file_) refuse("cannot be opened", "check its permissions");
  gzbuffer(handle_of(file_.get()), kBufferBytes);
}

GzipReader::~GzipReader() = default;
GzipReader::GzipReader(GzipReader&&) noexcept = default;
GzipReader& GzipReader::operator=(GzipReader&&) noexcept = default;

std::size_t GzipReader::read(std::span<std::byte> bytes) {
  std::size_t total = 0;
  while (total < bytes.size()) {
    const auto part = static_cast<unsigned>(std::min(bytes.size() - total, kMostAtOnce));
    const auto got = gzread(handle_of(file_.get()), bytes.data() + total, part);
    if (got < 0) {
      int code = 0;
      const std::string reason = gzerror(handle_of(file_.get()), &code);
      refuse("cannot be unpacked at byte " + std::to_string(offset_ + total) + " (" + reason + ")",
             "fetch it again");
    }
    if (got == 0) break;
    total += static_cast<std::size_t>(got);
  }
  offset_ += total;
  return total;
}

void GzipReader::check_end() const {
  int code = Z_OK;
  gzerror(handle_of(file_.get()), &code);
  if (code != Z_OK && code != Z_STREAM_END) {
    refuse("has a damaged end after byte " + std::to_string(offset_), "fetch it again");
  }
}

bool GzipReader::packed() const { return gzdirect(handle_of(file_.get())) == 0; }

std::uint64_t GzipReader::stored_offset() const {
  const auto offset = gzoffset(handle_of(file_.get()));
  return offset < 0 ? 0 : static_cast<std::uint64_t>(offset);
}

void GzipReader::refuse(const std::string& problem, const std::string& advice) const {
  throw base::DataError(what_ + " " + base::quote(path_) + " " + problem + "; " + advice);
}

}  // namespace lockstep::data::detail
