#include "npy_files.hpp"

#include <zip.h>

#include <span>
#include <stdexcept>

namespace lockstep::tests {

std::vector<std::byte> npy_bytes(std::string header, const std::vector<std::byte>& elements,
                                 int version) {
  const std::size_t start = version == 1 ? 10 : 12;
  while ((start + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string text = "\x93NUMPY";
  text += static_cast<char>(version);
  text += '\0';
  for (std::size_t i = 0; i < start - 8; ++i) text += static_cast<char>(header.size() >> (8 * i));
  text += header;
  const auto bytes = std::as_bytes(std::span(text));
  std::vector<std::byte> file(bytes.begin(), bytes.end());
  file.insert(file.end(), elements.begin(), elements.end());
  return file;
}

void write_npz(const std::string& path,
               const std::vector<std::pair<std::string, std::vector<std::byte>>>& members,
               Packing packing) {
  int code = 0;
  auto* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
  if (archive == nullptr) throw std::runtime_error("a test archive could not be made");
  for (const auto& [name, bytes] : members) {
    const auto index = zip_file_add(archive, name.c_str(),
                                    zip_source_buffer(archive, bytes.data(), bytes.size(), 0), 0);
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(index),
                             packing == Packing::kStored ? ZIP_CM_STORE : ZIP_CM_DEFLATE, 0);
  }
  if (zip_close(archive) != 0) throw std::runtime_error("a test archive could not be written");
}

}  // namespace lockstep::tests
