#include "data/import/npy_array.hpp"
#include "data/shape_text.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/text.hpp"

namespace lockstep::data::detail {
namespace {

static_assert(std::endian::native == std::endian::little, "NumPy's '<' is taken as native");

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::uint32_t kMostHeaderBytes = 1u << 20;
constexpr std::size_t kMostDimensions = 32;  ///< HDF5 has no more
/// Rows are held whole; nothing sensible has larger ones.
constexpr std::uint64_t kMostRowBytes = std::uint64_t{256} << 20;
/// Of rows whose elements are gathered from all over the file: the more, the longer the strips.
constexpr std::int64_t kTransposedBytes = std::int64_t{64} << 20;
constexpr std::size_t kSpoolBytes = std::size_t{1} << 20;

const char* const kSaveAdvice = "save it with numpy.save, as numbers";
const char* const kCopyAdvice = "fetch it again";

/// Reads the Python literal of a header, token by token.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& what) : text_(text), what_(what) {}

  NpyHeader parse() {
    NpyHeader header;
    bool has_descr = false;
    bool has_order = false;
    bool has_shape = false;
    expect('{');
    while (!take('}')) {
      const auto key = string();
      expect(':');
      if (key == "descr" && !has_descr) {
        has_descr = true;
        parse_descr(header);
      } else if (key == "fortran_order" && !has_order) {
        has_order = true;
        header.fortran_order = boolean();
      } else if (key == "shape" && !has_shape) {
        has_shape = true;
        header.shape = tuple();
      } else {
        refuse("has the key " + base::quote(key) + " in its header (unknown, or there twice)");
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    if (peek() != '\0') refuse("has something after the dictionary of its header");
    if (!has_descr || !has_order || !has_shape) {
      refuse("lacks one of descr, fortran_order and shape in its header");
    }
    return header;
  }

 private:
  /// The next character that is no blank; 0 at the end.
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char wanted) {
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (!take(wanted)) {
      refuse("has a header that cannot be read at its byte " + std::to_string(at_) + " (" +
             base::quote(std::string(1, wanted)) + " is expected)");
    }
  }

  std::string string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') expect('\'');
    const auto begin = ++at_;
    const auto end = text_.find(quote, begin);
    if (end == std::string_view::npos) refuse("has a text in its header that does not end");
    at_ = end + 1;
    return std::string(text_.substr(begin, end - begin));
  }

  bool boolean() {
    peek();
    for (const auto& [word, value] : {std::pair("True", true), std::pair("False", false)}) {
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += std::strlen(word);
      return value;
    }
    refuse("has a fortran_order that is neither True nor False");
  }

  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> lengths;
    expect('(');
    while (!take(')')) {
      peek();
      std::int64_t length = 0;
      const auto rest = text_.substr(at_);
      const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
      if (error != std::errc() || length < 0) refuse("has a shape that cannot be read");
      at_ += static_cast<std::size_t>(end - rest.data());
      take('L');  // Python 2 wrote long integers so.
      lengths.push_back(length);
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return lengths;
  }

  void parse_descr(NpyHeader& header) {
    if (peek() == '[') {
      refuse_type("structures", "save each of their fields as an array of its own");
    }
    const auto descr = string();
    const auto order = descr.empty() ? '\0' : descr.front();
    if (order != '<' && order != '>' && order != '|' && order != '=') {
      refuse("has the unknown element type " + base::quote(descr));
    }
    const auto type = std::string_view(descr).substr(1);
    struct Known {
      std::string_view name;
      DType dtype;
    };
    static constexpr std::array<Known, 12> kKnown = {{{"b1", DType::kU8},
                                                      {"u1", DType::kU8},
                                                      {"i1", DType::kI8},
                                                      {"u2", DType::kU16},
                                                      {"i2", DType::kI16},
                                                      {"u4", DType::kU32},
                                                      {"i4", DType::kI32},
                                                      {"u8", DType::kU64},
                                                      {"i8", DType::kI64},
                                                      {"f2", DType::kF16},
                                                      {"f4", DType::kF32},
                                                      {"f8", DType::kF64}}};
    const auto found = std::ranges::find(kKnown, type, &Known::name);
    if (found == kKnown.end()) refuse_unknown(descr, type);
    header.dtype = found->dtype;
    header.order = order == '>' ? ByteOrder::kBigEndian : ByteOrder::kNative;
  }

  [[noreturn]] void refuse_unknown(const std::string& descr, std::string_view type) {
    if (type.starts_with('O')) {
      refuse_type(
          "Python objects, which are pickled (unpickling runs whatever program is in "
          "them, so it is never done)",
          kSaveAdvice);
    }
    const auto kind = type.empty() ? '\0' : type.front();
    const char* const name = kind == 'U' || kind == 'S' || kind == 'a' ? "texts"
                             : kind == 'M' || kind == 'm'              ? "dates or times"
                             : kind == 'c'                             ? "complex numbers"
                             : kind == 'V'                             ? "structures or raw bytes"
                             : kind == 'f'                             ? "floats of that size"
                                                                       : "of an unknown type";
    refuse_type(std::string(name) + " (type " + base::quote(descr) + ")", kSaveAdvice);
  }

  [[noreturn]] void refuse_type(const std::string& kind, const std::string& advice) {
    throw base::DataError(what_ + " holds " + kind +
                          "; datasets hold integers, floats and bool: " + advice);
  }
  [[noreturn]] void refuse(const std::string& problem) {
    throw base::DataError(what_ + " " + problem + "; " + kSaveAdvice);
  }

  std::string_view text_;
  const std::string& what_;
  std::size_t at_ = 0;
};

/// An unnamed copy of the next `count` bytes, beside the output, for reading them in any order.
FileDescriptor spooled(NpyBytes& bytes, std::uint64_t count, const std::string& output) {
  auto path = base::join_path(base::parent_path(output), ".array-XXXXXX");
  const int descriptor = ::mkstemp(path.data());
  if (descriptor < 0) {
    throw base::IoError("no temporary file can be made beside " + base::quote(output) + " (" +
                            std::strerror(errno) + "); check the permissions there",
                        errno);
  }
  ::close(descriptor);
  struct Remove {
    const std::string& path;
    ~Remove() { ::unlink(path.c_str()); }
  } const remove{path};
  const auto file = base::FileSystem::posix().open(path, base::OpenMode::kExisting);
  std::vector<std::byte> buffer(kSpoolBytes);
  for (std::uint64_t done = 0; done < count;) {
    const auto part = std::span(buffer).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), count - done)));
    bytes.read(part);
    file->write_at(done, part);
    done += part.size();
  }
  bytes.check_end();
  return FileDescriptor(path);
}

/// Where each element of a row, in C order, stands among those of a row in Fortran order.
std::vector<std::uint64_t> fortran_places(std::span<const std::int64_t> lengths) {
  std::vector<std::uint64_t> places{0};
  std::uint64_t stride = 1;
  for (const auto length : lengths) {
    std::vector<std::uint64_t> finer;
    finer.reserve(places.size() * static_cast<std::size_t>(length));
    for (const auto place : places) {
      for (std::int64_t i = 0; i < length; ++i) {
        finer.push_back(place + static_cast<std::uint64_t>(i) * stride);
      }
    }
    places = std::move(finer);
    stride *= static_cast<std::uint64_t>(length);
  }
  return places;
}

}  // namespace

NpyHeader parse_npy_header(std::string_view text, const std::string& what) {
  return HeaderParser(text, what).parse();
}

void NpyFile::read(std::span<std::byte> bytes) {
  file_.read_at(offset_, bytes);
  offset_ += bytes.size();
}

NpyArray::NpyArray(std::string what, std::unique_ptr<NpyBytes> bytes)
    : what_(std::move(what)), bytes_(std::move(bytes)) {
  const auto need = [&](std::uint64_t count) {
    if (data_offset_ + count > bytes_->size()) refuse("ends within its header", kCopyAdvice);
    data_offset_ += count;
  };
  // Magic string, version, and the header's length: 2 bytes in version 1, else 4.
  std::array<std::uint8_t, 12> start{};
  need(10);
  bytes_->read(std::as_writable_bytes(std::span(start).first(10)));
  if (std::memcmp(start.data(), kMagic.data(), kMagic.size()) != 0) {
    refuse("is not in NumPy's format (its first bytes are not \\x93NUMPY)", kSaveAdvice);
  }
  const int version = start[6];
  if (version < 1 || version > 3 || start[7] != 0) {
    refuse("has the unknown format version " + std::to_string(version) + "." +
               std::to_string(start[7]),
           kSaveAdvice);
  }
  std::uint32_t length = start[8] | static_cast<std::uint32_t>(start[9]) << 8;
  if (version > 1) {
    need(2);
    bytes_->read(std::as_writable_bytes(std::span(start).subspan(10)));
    length |= static_cast<std::uint32_t>(start[10]) << 16 | static_cast<std::uint32_t>(start[11])
                                                                << 24;
  }
  if (length > kMostHeaderBytes) {
    refuse("claims a header of " + base::format_bytes(length), kCopyAdvice);
  }
  need(length);
  std::string text(length, '\0');
  bytes_->read(std::as_writable_bytes(std::span(text)));
  header_ = parse_npy_header(text, what_);

  if (header_.shape.empty() || header_.shape.size() > kMostDimensions) {
    refuse("has " + std::to_string(header_.shape.size()) +
               " dimensions (a dataset has rows, and at most 32 dimensions)",
           kSaveAdvice);
  }
  // Everything is compared with the bytes that there are before it is multiplied on.
  const auto have = bytes_->size() - data_offset_;
  std::uint64_t claimed = size_of(header_.dtype);
  for (const auto dimension : header_.shape) {
    if (dimension == 0) {
      refuse("has no elements (its shape is " + shape_text(header_.shape) + ")",
             "give an array with rows");
    }
    if (static_cast<std::uint64_t>(dimension) > have / claimed + 1) {
      refuse("claims the shape " + shape_text(header_.shape) + ", but ends after " +
                 std::to_string(have) + " bytes of elements",
             kCopyAdvice);
    }
    claimed *= static_cast<std::uint64_t>(dimension);
  }
  if (claimed != have) {
    refuse("claims " + std::to_string(claimed) + " bytes of elements and has " +
               std::to_string(have) + (claimed > have ? " (it was cut short)" : ""),
           kCopyAdvice);
  }
  if (claimed / static_cast<std::uint64_t>(rows()) > kMostRowBytes) {
    refuse("has rows larger than " + base::format_bytes(kMostRowBytes),
           "put the samples along the first dimension");
  }
}

std::string NpyArray::description() const {
  return std::string(name_of(header_.dtype)) + " " + shape_text(header_.shape) +
         (header_.order == ByteOrder::kBigEndian && size_of(header_.dtype) > 1 ? ", big endian"
                                                                               : "") +
         (header_.fortran_order ? ", Fortran order" : "");
}

void NpyArray::write(ImportWriter& writer, const std::string& name,
                     const std::vector<std::int64_t>& shape, const std::string& output) {
  auto& column = writer.add_column(name, header_.dtype, shape, header_.order);
  if (!header_.fortran_order || header_.shape.size() == 1) {
    write_in_order(writer, column, name);
  } else if (const auto* file = dynamic_cast<const NpyFile*>(bytes_.get())) {
    write_transposed(writer, column, name, file->file());
  } else {
    const auto elements = spooled(*bytes_, bytes_->size() - data_offset_, output);
    data_offset_ = 0;
    write_transposed(writer, column, name, elements);
  }
}

void NpyArray::write_in_order(ImportWriter& writer, ColumnFiller& column, const std::string& name) {
  while (column.filled() < column.rows()) {
    bytes_->read(column.next_rows(column.rows()));
    writer.progress("writing " + name, static_cast<std::uint64_t>(column.filled()),
                    static_cast<std::uint64_t>(column.rows()));
  }
  bytes_->check_end();
}

void NpyArray::write_transposed(ImportWriter& writer, ColumnFiller& column, const std::string& name,
                                const FileDescriptor& file) {
  const auto size = size_of(header_.dtype);
  const auto places = fortran_places(std::span(header_.shape).subspan(1));
  const auto row_bytes = column.row_bytes();
  const auto most =
      std::clamp<std::int64_t>(kTransposedBytes / static_cast<std::int64_t>(row_bytes), 1, rows());
  std::vector<std::byte> block(static_cast<std::size_t>(most) * row_bytes);
  std::vector<std::byte> strip(static_cast<std::size_t>(most) * size);
  for (std::int64_t begin = 0; begin < rows(); begin += most) {
    const auto count = static_cast<std::size_t>(std::min(most, rows() - begin));
    for (std::size_t element = 0; element < places.size(); ++element) {
      const auto first =
          places[element] * static_cast<std::uint64_t>(rows()) + static_cast<std::uint64_t>(begin);
      file.read_at(data_offset_ + first * size, std::span(strip).first(count * size));
      for (std::size_t row = 0; row < count; ++row) {
        std::memcpy(block.data() + row * row_bytes + element * size, strip.data() + row * size,
                    size);
      }
      if (element % 4096 == 0) {
        writer.progress("writing " + name, static_cast<std::uint64_t>(begin),
                        static_cast<std::uint64_t>(rows()));
      }
    }
    for (std::span<const std::byte> left = std::span(block).first(count * row_bytes);
         !left.empty();) {
      const auto rows_left = static_cast<std::int64_t>(left.size() / row_bytes);
      const auto room = column.next_rows(rows_left);
      std::ranges::copy(left.first(room.size()), room.begin());
      left = left.subspan(room.size());
    }
  }
}

void NpyArray::refuse(const std::string& problem, const std::string& advice) const {
  throw base::DataError(what_ + " " + problem + "; " + advice);
}

ImportResult import_arrays(NpyArray& inputs, NpyArray* targets, ImportWriter& writer,
                           const std::string& output, std::span<const std::string> names) {
  std::vector<ImportedColumn> report{{names[0], inputs.description(), "x"}};
  if (targets != nullptr) {
    if (targets->rows() != inputs.rows()) {
      throw base::DataError(inputs.what() + " and " + targets->what() + " have " +
                            std::to_string(inputs.rows()) + " and " +
                            std::to_string(targets->rows()) +
                            " rows (they do not belong together); give the two of one set");
    }
    const bool classes = is_integer(targets->header().dtype);
    report.push_back({names[1], targets->description(), classes ? "y, classes" : "y, values"});
  }
  inputs.write(writer, "x", inputs.header().shape, output);
  if (targets != nullptr) {
    auto shape = targets->header().shape;
    // Keras and others store labels so.
    if (is_integer(targets->header().dtype) && shape.size() == 2 && shape[1] == 1) shape.pop_back();
    targets->write(writer, "y", shape, output);
  }
  auto result = writer.commit();
  result.columns = std::move(report);
  return result;
}

}  // namespace lockstep::data::detail
