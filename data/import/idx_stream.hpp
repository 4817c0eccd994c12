#pragma once
// An IDX file read front to back: its header, then its elements, plain or gzip. Internal to
// data/import. One thread.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dtype.hpp"

namespace lockstep::data::detail {

class IdxStream {
 public:
  /// Opens the file and reads its header. Throws DataError with the byte offset of what is wrong.
  explicit IdxStream(const std::string& path);
  ~IdxStream();
  IdxStream(const IdxStream&) = delete;
  IdxStream& operator=(const IdxStream&) = delete;

  const std::string& path() const { return path_; }
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
  std::size_t read_some(std::span<std::byte> bytes);
  [[noreturn]] void refuse(const std::string& problem, const std::string& advice) const;

  struct Gzip;
  std::string path_;
  std::unique_ptr<Gzip> gzip_;
  std::uint64_t offset_ = 0;  ///< in the unpacked bytes
  DType dtype_ = DType::kU8;
  std::vector<std::int64_t> shape_;
  std::size_t row_bytes_ = 0;
};

}  // namespace lockstep::data::detail
