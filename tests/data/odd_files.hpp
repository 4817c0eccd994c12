#pragma once
// HDF5 files that DatasetWriter would not make: other byte orders, layouts, filters, types and
// formats. For tests of one thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/dataset_writer.hpp"
#include "data/dtype.hpp"

namespace lockstep::tests {

enum class FileFormat {
  kChecked,  ///< metadata with checksums, as DatasetWriter makes
  kOldest,   ///< without, as h5py makes by default
};

struct OddColumn {
  std::string name = "x";
  data::DType dtype = data::DType::kF32;
  data::ByteOrder order = data::ByteOrder::kNative;
  std::vector<std::int64_t> shape{};
  std::vector<std::byte> bytes{};  ///< native elements; empty leaves the dataset unwritten
  std::vector<std::int64_t> chunk{};
  int deflate = 0;
  bool fletcher32 = false;
};

class OddFile {
 public:
  explicit OddFile(const std::string& path, FileFormat format = FileFormat::kChecked,
                   std::uint64_t user_block_bytes = 0);
  ~OddFile();
  OddFile(const OddFile&) = delete;
  OddFile& operator=(const OddFile&) = delete;

  OddFile& add(const OddColumn& column);
  OddFile& add_strings(const std::string& name, std::int64_t rows);
  OddFile& add_enums(const std::string& name, std::int64_t rows);
  OddFile& add_scalar(const std::string& name);
  OddFile& add_group(const std::string& name);
  /// A second name for what `target` names, a group for example.
  OddFile& add_hard_link(const std::string& target, const std::string& name);
  OddFile& add_soft_link(const std::string& target, const std::string& name);

 private:
  std::int64_t id_;
};

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

/// Writes one column with DatasetWriter's own layout into an ordinary file.
template <class T>
void add_column(data::DatasetWriter& writer, const std::string& name, data::DType dtype,
                const std::vector<std::int64_t>& shape, const std::vector<T>& values,
                data::ColumnLayout layout = {}) {
  writer.add_column(name, dtype, shape, layout);
  writer.write_rows(name, 0, shape[0], std::as_bytes(std::span(values)));
}

std::vector<std::byte> read_file(const std::string& path);
void write_file(const std::string& path, std::span<const std::byte> bytes);

}  // namespace lockstep::tests
