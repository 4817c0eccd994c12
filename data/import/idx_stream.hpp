#pragma once
// An IDX file read front to back: its header, then its elements, plain or gzip. Internal to
// data/import. One thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/dtype.hpp"
#include "data/import/gzip_reader.hpp"

namespace lockstep::data::detail {

class IdxStream {
 public:
  /// Opens the file and reads its header. Throws DataError with the byte offset of what is wrong.
  explicit IdxStream(const std::string& path);

  const std::string& path() const { return file_.path(); }
  DType dtype() const { return dtype_; }
  /// [rows, ...], all at least 1.
  const std::vector<std::int64_t>& shape() const { return shape_; }
  std::size_t row_bytes() const { return row_bytes_; }

  /// The next elements, big endian as stored; `bytes` is a number of whole rows.
  void read(std::span<std::byte> bytes);
  /// Throws DataError when anything follows the last element.
  void expect_end();

 private:
  void read_header();
  void check_claims() const;

  GzipReader file_;
  DType dtype_ = DType::kU8;
  std::vector<std::int64_t> shape_;
  std::size_t row_bytes_ = 0;
};

}  // namespace lockstep::data::detail
