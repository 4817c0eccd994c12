#pragma once
// One array in NumPy's .npy format, wherever its bytes lie, and its way into a dataset. Internal to
// data/import. One thread.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/dtype.hpp"
#include "data/file_descriptor.hpp"
#include "data/import/import_writer.hpp"

namespace lockstep::data::detail {

struct NpyHeader {
  DType dtype = DType::kUnsupported;
  ByteOrder order = ByteOrder::kNative;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

/// The dictionary of a .npy header: a Python literal with the keys descr, fortran_order and shape,
/// as numpy.lib.format writes it. `what` names the array in messages. Throws DataError for anything
/// else, and for types that are not numbers.
NpyHeader parse_npy_header(std::string_view text, const std::string& what);

/// The bytes of a .npy file.
class NpyBytes {
 public:
  virtual ~NpyBytes() = default;
  virtual std::uint64_t size() const = 0;
  /// The next bytes, all of them. Throws DataError when they cannot be read.
  virtual void read(std::span<std::byte> bytes) = 0;
  /// After the last byte: throws DataError when what was read is not what was stored.
  virtual void check_end() {}
};

class NpyFile final : public NpyBytes {
 public:
  explicit NpyFile(const std::string& path) : file_(path) {}
  explicit NpyFile(FileDescriptor file) : file_(std::move(file)) {}
  std::uint64_t size() const override { return file_.size(); }
  void read(std::span<std::byte> bytes) override;
  const FileDescriptor& file() const { return file_; }

 private:
  FileDescriptor file_;
  std::uint64_t offset_ = 0;
};

class NpyArray {
 public:
  /// Reads the header. `what` names the array in messages. Throws DataError when it is damaged or
  /// its size does not fit the bytes.
  NpyArray(std::string what, std::unique_ptr<NpyBytes> bytes);

  const std::string& what() const { return what_; }
  const NpyHeader& header() const { return header_; }
  std::int64_t rows() const { return header_.shape.front(); }
  /// For people: `f32 [100, 28, 28], Fortran order`.
  std::string description() const;
  /// Writes all rows as column `name` with this shape (the array's own, or without lengths of 1).
  void write(ImportWriter& writer, const std::string& name, const std::vector<std::int64_t>& shape,
             const std::string& output);

 private:
  void write_in_order(ImportWriter& writer, ColumnFiller& column, const std::string& name);
  void write_transposed(ImportWriter& writer, ColumnFiller& column, const std::string& name,
                        const FileDescriptor& file);
  [[noreturn]] void refuse(const std::string& problem, const std::string& advice) const;

  std::string what_;
  std::unique_ptr<NpyBytes> bytes_;
  NpyHeader header_;
  std::uint64_t data_offset_ = 0;
};

/// Writes `x` and, where there are targets, `y`. `names`: of the two in the report.
ImportResult import_arrays(NpyArray& inputs, NpyArray* targets, ImportWriter& writer,
                           const std::string& output, std::span<const std::string> names);

}  // namespace lockstep::data::detail
