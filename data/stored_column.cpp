#include "data/stored_column.hpp"

#include <hdf5.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/text.hpp"
#include "data/filters.hpp"
#include "data/hdf5_types.hpp"

namespace lockstep::data::detail {
namespace {

const char* const kRemakeAdvice = "the file is damaged; copy or make it again";
constexpr std::size_t kMostParameters = 64;
constexpr std::uint64_t kMostChunkBytes = std::uint64_t{1} << 32;
/// An index of more chunks than a file has room for is that of a sparse dataset.
constexpr std::uint64_t kFewChunks = 65'536;
constexpr std::uint64_t kLeastBytesOfChunk = 8;

/// Reverses the bytes of each value of `Size` bytes.
template <std::size_t Size>
void swap_values(std::span<std::byte> values) {
  for (std::size_t i = 0; i + Size <= values.size(); i += Size) {
    std::reverse(values.begin() + static_cast<std::ptrdiff_t>(i),
                 values.begin() + static_cast<std::ptrdiff_t>(i + Size));
  }
}

StoredElement stored_element(Hdf5Id type, const ElementType& element) {
  StoredElement stored;
  stored.bytes = H5Tget_size(type);
  stored.offset = element.offset;
  stored.dtype = element.dtype;
  for (const auto length : element.lengths) stored.values *= static_cast<std::size_t>(length);
  stored.swapped = element.swapped;
  return stored;
}

class Description {
 public:
  Description(Hdf5Id dataset, const ColumnInfo& column, std::string what, std::uint64_t file_bytes)
      : dataset_(dataset),
        column_(column),
        what_(std::move(what)),
        file_bytes_(file_bytes),
        plist_(checked(H5Dget_create_plist(dataset), "H5Dget_create_plist"), H5Pclose) {}

  StoredColumn make() {
    const Hdf5Handle type(checked(H5Dget_type(dataset_), "H5Dget_type"), H5Tclose);
    const auto element = element_of(type.id(), column_.members);
    made_.element = stored_element(type.id(), element);
    made_.extent.assign(column_.shape.begin(),
                        column_.shape.end() - static_cast<std::ptrdiff_t>(element.lengths.size()));
    made_.why_foreign = foreign_reason(element);
    if (made_.why_foreign.empty()) {
      H5Pget_layout(plist_.id()) == H5D_CONTIGUOUS ? place_contiguous() : place_chunks();
    }
    if (made_.storage == Storage::kChunked) read_fill(type.id());
    return std::move(made_);
  }

 private:
  Hdf5Id checked(Hdf5Id result, const char* call) const {
    return read_checked(result, call, what_ + " cannot be read", kRemakeAdvice);
  }

  std::string foreign_reason(const ElementType& element) {
    if (column_.in_other_file) return "external link";
    const auto layout = H5Pget_layout(plist_.id());
    if (layout == H5D_VIRTUAL) return "virtual";
    if (H5Pget_external_count(plist_.id()) > 0) return "external raw files";
    if (layout == H5D_COMPACT) return "compact";
    if (!element.standard) return "elements of unusual form";
    // Without a place in the file H5Dget_offset says HADDR_UNDEF plus the length of a user block.
    if (layout == H5D_CONTIGUOUS) return H5Dget_storage_size(dataset_) == 0 ? "unwritten" : "";
    unsigned options = 0;
    checked(H5Pget_chunk_opts(plist_.id(), &options), "H5Pget_chunk_opts");
    if (options != 0) return "edge chunks without filters";
    return filter_reason();
  }

  /// Reads the filters; the name of the first that this program does not undo itself.
  std::string filter_reason() {
    const auto count = H5Pget_nfilters(plist_.id());
    for (int i = 0; i < count; ++i) {
      StoredFilter filter;
      unsigned flags = 0;
      std::size_t parameters = kMostParameters;
      filter.parameters.resize(parameters);
      filter.id = H5Pget_filter2(plist_.id(), static_cast<unsigned>(i), &flags, &parameters,
                                 filter.parameters.data(), 0, nullptr, nullptr);
      filter.parameters.resize(std::min(parameters, kMostParameters));
      if (!is_known_filter(filter.id)) return "filter " + column_.filters.at(made_.filters.size());
      made_.filters.push_back(std::move(filter));
    }
    return {};
  }

  void place_contiguous() {
    made_.offset = H5Dget_offset(dataset_);
    std::uint64_t bytes = made_.element.bytes;
    for (const auto length : made_.extent) bytes *= static_cast<std::uint64_t>(length);
    if (made_.offset > file_bytes_ || bytes > file_bytes_ - made_.offset) {
      throw base::DataError(what_ + " ends at byte " + std::to_string(made_.offset + bytes) +
                            ", the file at " + std::to_string(file_bytes_) +
                            " (the file was cut short); copy or make it again");
    }
    made_.storage = Storage::kContiguous;
  }

  void place_chunks() {
    std::uint64_t bytes = made_.element.bytes;
    std::uint64_t chunks = 1;
    for (std::size_t i = 0; i < made_.extent.size(); ++i) {
      const auto length = column_.chunk.at(i);
      if (length < 1) throw base::DataError(what_ + " has empty chunks; " + kRemakeAdvice);
      bytes *= static_cast<std::uint64_t>(length);
      chunks *= static_cast<std::uint64_t>((made_.extent[i] + length - 1) / length);
      if (bytes > kMostChunkBytes) {
        throw base::DataError(what_ + " has chunks larger than HDF5 allows; " + kRemakeAdvice);
      }
    }
    if (chunks > kFewChunks + file_bytes_ / kLeastBytesOfChunk) {
      made_.why_foreign = "sparse";
      return;
    }
    made_.chunk = column_.chunk;
    made_.storage = Storage::kChunked;
  }

  void read_fill(Hdf5Id type) {
    made_.fill.assign(made_.element.bytes, std::byte{0});
    H5D_fill_value_t defined = H5D_FILL_VALUE_UNDEFINED;
    checked(H5Pfill_value_defined(plist_.id(), &defined), "H5Pfill_value_defined");
    if (defined == H5D_FILL_VALUE_USER_DEFINED) {
      checked(H5Pget_fill_value(plist_.id(), type, made_.fill.data()), "H5Pget_fill_value");
    }
  }

  Hdf5Id dataset_;
  const ColumnInfo& column_;
  std::string what_;
  std::uint64_t file_bytes_;
  Hdf5Handle plist_;
  StoredColumn made_;
};

}  // namespace

void StoredElement::extract(std::span<const std::byte> stored, std::span<std::byte> out) const {
  const auto wanted = value_bytes();
  const auto count = stored.size() / bytes;
  if (bytes == wanted) {
    std::memcpy(out.data(), stored.data(), out.size());
  } else {
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(out.data() + i * wanted, stored.data() + i * bytes + offset, wanted);
    }
  }
  if (!swapped) return;
  switch (size_of(dtype)) {
    case 2: swap_values<2>(out); break;
    case 4: swap_values<4>(out); break;
    case 8: swap_values<8>(out); break;
    default: break;
  }
}

StoredColumn describe_storage(Hdf5Id dataset, const ColumnInfo& column, const std::string& what,
                              std::uint64_t file_bytes) {
  return Description(dataset, column, what, file_bytes).make();
}

}  // namespace lockstep::data::detail
