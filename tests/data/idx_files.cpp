#include "idx_files.hpp"

#include <zlib.h>

#include <stdexcept>

namespace lockstep::tests {

std::vector<std::byte> idx_bytes(std::uint8_t type_code, const std::vector<std::uint32_t>& shape,
                                 const std::vector<std::uint8_t>& elements) {
  std::vector<std::byte> bytes = {std::byte{0}, std::byte{0}, std::byte{type_code},
                                  static_cast<std::byte>(shape.size())};
  for (const auto length : shape) {
    for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<std::byte>(length >> shift));
  }
  for (const auto element : elements) bytes.push_back(std::byte{element});
  return bytes;
}

std::vector<std::byte> gzipped(const std::vector<std::byte>& bytes) {
  z_stream stream{};
  // 16 more than the largest window asks for a gzip header.
  if (deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("zlib cannot be used");
  }
  std::vector<std::byte> packed(deflateBound(&stream, bytes.size()));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int result = deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) throw std::runtime_error("zlib could not pack a test file");
  return packed;
}

}  // namespace lockstep::tests
