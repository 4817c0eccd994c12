#include "data/row_reader.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/row_ahead.hpp"

namespace lockstep::data::detail {
namespace {

constexpr std::int64_t kUnchunkedBandBytes = std::int64_t{1} << 20;
constexpr std::size_t kLine = 64;
/// Rows are prefetched this far ahead, but not so many that the first ones are pushed out again.
constexpr std::size_t kPrefetchBytes = 6144;
constexpr std::size_t kMostRowsAhead = 16;
/// Inside a page the hardware goes on by itself; of rows of several pages each one's start is asked
/// for.
constexpr std::size_t kPage = 4096;
constexpr std::size_t kPrefetchedOfLongPage = 1024;
/// As long as a slow chunk takes; then it is decoded a second time.
constexpr std::chrono::milliseconds kPatience{50};

std::size_t rows_ahead(std::size_t row_bytes) {
  return std::clamp<std::size_t>(kPrefetchBytes / row_bytes, 1, kMostRowsAhead);
}

// Always inlined: g++ 12 takes a call that only prefetches for one without effect.
[[gnu::always_inline]] inline void prefetch(const std::byte* row, std::size_t bytes) {
  const auto of_page = bytes <= kPage ? bytes : kPrefetchedOfLongPage;
  for (std::size_t page = 0; page < bytes; page += kPage) {
    const auto end = std::min(bytes, page + of_page);
    for (auto line = page; line < end; line += kLine) __builtin_prefetch(row + line);
  }
}

}  // namespace

RowReader::RowReader(const Files& files, const ColumnInfo& info, const DatasetFileOptions& options)
    : mapped_(files.mapped),
      path_(files.path),
      info_(info),
      row_bytes_(info.row_bytes()),
      budget_(options.cache_bytes) {
  if (info.dtype == DType::kUnsupported || info.shape.empty()) {
    throw base::DataError(described() + " holds " + info.type_name +
                          (info.shape.empty() ? " without rows" : " elements") +
                          " (only integers and floats of 8 to 64 bits can be read); store it as "
                          "such numbers, one sample a row");
  }
  if (row_bytes_ == 0) {
    throw base::DataError(described() +
                          " has rows without elements (one of its lengths is 0); "
                          "make the file again");
  }
  place_storage(files, options);
  converted_.resize(row_bytes_);
}

void RowReader::place_storage(const Files& files, const DatasetFileOptions& options) {
  const auto file_bytes = files.descriptor.size();
  const Hdf5Lock lock;
  dataset_ = open_dataset(files.hdf5, info_.dataset, described());
  stored_ = describe_storage(dataset_.id(), info_, described(), file_bytes);
  stored_row_bytes_ = stored_.element.bytes;
  for (std::size_t axis = 1; axis < stored_.extent.size(); ++axis) {
    stored_row_bytes_ *= static_cast<std::size_t>(stored_.extent[axis]);
  }
  switch (stored_.storage) {
    case Storage::kContiguous:
      access_ = stored_.element.is_native() && stored_.offset % size_of(info_.dtype) == 0
                    ? RowAccess::kMapped
                    : RowAccess::kConverted;
      return;
    case Storage::kChunked: {
      const ChunkIndexCache known(options.cache_directory);
      auto index = known.find(files.descriptor, info_.dataset, chunk_count(stored_));
      if (!index) {
        index = read_chunk_index(files.hdf5, dataset_.id(), stored_, described(), file_bytes);
        known.keep(files.descriptor, info_.dataset, *index);
      }
      decoder_.emplace(mapped_, stored_, std::move(*index), described());
      access_ = decoder_->has_plain_bands() ? RowAccess::kMapped : RowAccess::kDecoded;
      band_rows_ = stored_.chunk[0];
      break;
    }
    case Storage::kForeign:
      through_hdf5_.emplace(dataset_.id(), info_, path_);
      band_rows_ = info_.chunk.empty() ? kUnchunkedBandBytes / static_cast<std::int64_t>(row_bytes_)
                                       : info_.chunk.front();
      break;
  }
  band_rows_ = std::clamp<std::int64_t>(band_rows_, 1, std::max<std::int64_t>(1, info_.rows()));
}

std::int64_t RowReader::bands() const { return (info_.rows() + band_rows_ - 1) / band_rows_; }

std::int64_t RowReader::rows_of(std::int64_t band) const {
  return std::min(band_rows_, info_.rows() - band * band_rows_);
}

std::size_t RowReader::bytes_of(std::int64_t band) const {
  return static_cast<std::size_t>(rows_of(band)) * row_bytes_;
}

void RowReader::require_row(std::int64_t row) const {
  LOCKSTEP_EXPECT(row >= 0 && row < info_.rows(),
                  "row " + std::to_string(row) + " of " + described() + " does not exist");
}

std::string RowReader::described() const {
  return "dataset " + base::quote(info_.name) + " of " + base::quote(path_);
}

const std::byte* RowReader::mapped_row(std::int64_t row) const {
  if (const auto rows_at = places()) return rows_at->of(row);
  const auto* band = decoder_->plain_band(row / band_rows_);
  if (band == nullptr) return decoder_->fill_row().data();
  return band + static_cast<std::size_t>(row % band_rows_) * stored_row_bytes_;
}

/// The row in native form at an address that its type allows.
const std::byte* RowReader::usable(const std::byte* stored_row) {
  if (access_ == RowAccess::kMapped &&
      reinterpret_cast<std::uintptr_t>(stored_row) % size_of(info_.dtype) == 0) {
    return stored_row;
  }
  stored_.element.extract({stored_row, stored_row_bytes_}, converted_);
  return converted_.data();
}

void RowReader::read(std::int64_t begin, std::int64_t count, std::span<std::byte> out) {
  LOCKSTEP_EXPECT(begin >= 0 && count >= 0 && begin <= info_.rows() - count,
                  "rows " + std::to_string(begin) + " + " + std::to_string(count) + " of " +
                      described() + " do not exist");
  LOCKSTEP_EXPECT(out.size() == static_cast<std::size_t>(count) * row_bytes_,
                  "the buffer for rows of " + described() + " has another size");
  if (count == 0) return;
  if (stored_.storage == Storage::kContiguous) {
    stored_.element.extract(
        {mapped_row(begin), static_cast<std::size_t>(count) * stored_row_bytes_}, out);
    mapped_.require_whole();
    return;
  }
  for (auto row = begin; row < begin + count;) {
    const auto band = row / band_rows_;
    const auto skipped = static_cast<std::size_t>(row - band * band_rows_) * row_bytes_;
    auto part = out.first(std::min(out.size(), bytes_of(band) - skipped));
    access_ == RowAccess::kMapped ? copy_plain(row, part) : read_part(band, skipped, part);
    out = out.subspan(part.size());
    row += static_cast<std::int64_t>(part.size() / row_bytes_);
  }
}

/// Rows of one band of plain chunks, from `row` on.
void RowReader::copy_plain(std::int64_t row, std::span<std::byte> part) const {
  if (decoder_->plain_band(row / band_rows_) != nullptr) {
    std::memcpy(part.data(), mapped_row(row), part.size());
  } else {
    for (; !part.empty(); part = part.subspan(row_bytes_)) {
      std::memcpy(part.data(), decoder_->fill_row().data(), row_bytes_);
    }
  }
  mapped_.require_whole();
}

/// Bytes of a band from `skipped` on.
void RowReader::read_part(std::int64_t band, std::size_t skipped, std::span<std::byte> part) {
  open_cache();
  const bool whole = part.size() == bytes_of(band);
  // A pass over the file needs each band once: a whole one is not worth a place in the cache.
  auto place = whole ? cache_->find(band) : cache_->take(band);
  if (place.hold == BandCache::Hold::kNone && whole) {
    decode(band, part);
    return;
  }
  if (place.hold == BandCache::Hold::kFill) fill(band, place);
  if (place.hold != BandCache::Hold::kRead) {
    std::memcpy(part.data(), private_band(band) + skipped, part.size());
    return;
  }
  std::memcpy(part.data(), place.bytes + skipped, part.size());
  cache_->release(place);
}

void RowReader::fill(std::int64_t band, BandCache::Place& place) {
  try {
    decode(band, {place.bytes, bytes_of(band)});
  } catch (...) {
    cache_->abandon(place);
    throw;
  }
  cache_->publish(place);
}

void RowReader::open_cache() {
  if (cache_) return;
  own_memory_.emplace(cache_bytes(budget_, 0));
  cache_.emplace(cache_shape(budget_, 0), own_memory_->bytes());
}

void RowReader::decode(std::int64_t band, std::span<std::byte> out) {
  if (decoder_) {
    decoder_->decode(band, out);
  } else {
    through_hdf5_->read(band * band_rows_, rows_of(band), out);
  }
}

const std::byte* RowReader::private_band(std::int64_t band) {
  if (private_index_ != band) {
    private_index_ = -1;
    private_.resize(bytes_of(band));
    decode(band, private_);
    private_index_ = band;
  }
  return private_.data();
}

void RowReader::visit(std::span<const std::int64_t> rows, const UseRow& use) {
  for (const auto row : rows) {
    if (row < 0 || row >= info_.rows()) require_row(row);
  }
  const auto lying = [&](std::int64_t row) { return mapped_row(row); };
  const auto converted = [&](const std::byte* stored_row) { return usable(stored_row); };
  const auto as_it_is = [](const std::byte* stored_row) { return stored_row; };
  if (const auto rows_at = places()) {
    const auto in_turn = [first = *rows_at](std::int64_t row) { return first.of(row); };
    // Of a whole column in native form every row is aligned when the first one is.
    access_ == RowAccess::kMapped ? visit_mapped(rows, in_turn, as_it_is, use)
                                  : visit_mapped(rows, in_turn, converted, use);
  } else if (access_ == RowAccess::kMapped) {
    visit_mapped(rows, lying, converted, use);
  } else {
    visit_bands(rows, use);
  }
}

template <class PlaceOf, class Form>
void RowReader::visit_mapped(std::span<const std::int64_t> rows, const PlaceOf& place_of,
                             const Form& form, const UseRow& use) {
  const auto ahead = rows_ahead(stored_row_bytes_);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i + ahead < rows.size()) prefetch(place_of(rows[i + ahead]), stored_row_bytes_);
    use(i, form(place_of(rows[i])));
  }
  mapped_.require_whole();
}

std::optional<RowPlaces> RowReader::places() const {
  if (stored_.storage != Storage::kContiguous) return std::nullopt;
  return RowPlaces{mapped_.bytes().data() + stored_.offset, stored_row_bytes_};
}

void RowReader::visit_bands(std::span<const std::int64_t> rows, const UseRow& use) {
  open_cache();
  // First what is decoded already, which after an epoch is most of it, in the order asked for.
  wanted_.clear();
  const auto ahead = rows_ahead(row_bytes_);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i + ahead < rows.size()) prefetch_cached(rows[i + ahead]);
    const auto band = rows[i] / band_rows_;
    const auto place = cache_->find(band);
    if (place.hold != BandCache::Hold::kRead) {
      wanted_.push_back({band, rows[i], i});
      continue;
    }
    use(i, place.bytes + offset_in_band(rows[i]));
    cache_->release(place);
  }
  std::sort(wanted_.begin(), wanted_.end());
  postponed_.clear();
  const std::span<const Wanted> all(wanted_);
  for (std::size_t begin = 0; begin < all.size();) {
    auto end = begin + 1;
    while (end < all.size() && all[end].band == all[begin].band) ++end;
    const auto part = all.subspan(begin, end - begin);
    // What another rank decodes at this moment is taken last.
    if (!use_band(part, use, false)) postponed_.push_back(part);
    begin = end;
  }
  for (const auto& part : postponed_) use_band(part, use, true);
}

/// False when another reader is decoding the band and this one may not wait for it.
bool RowReader::use_band(std::span<const Wanted> wanted, const UseRow& use, bool may_wait) {
  const auto band = wanted.front().band;
  auto place = cache_->take(band);
  if (place.hold == BandCache::Hold::kBusy) {
    if (!may_wait) return false;
    // Whoever claimed it may have ended since.
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (place.hold == BandCache::Hold::kBusy && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
      place = cache_->take(band);
    }
  }
  if (place.hold == BandCache::Hold::kFill) fill(band, place);
  if (place.hold == BandCache::Hold::kRead) {
    use_rows(wanted, place.bytes, use);
    cache_->release(place);
  } else {
    use_rows(wanted, private_band(band), use);
  }
  return true;
}

void RowReader::use_rows(std::span<const Wanted> wanted, const std::byte* band,
                         const UseRow& use) const {
  for (const auto& one : wanted) use(one.place, band + offset_in_band(one.row));
}

BringRows RowReader::ahead() {
  if (access_ == RowAccess::kHdf5) return {};
  if (access_ == RowAccess::kDecoded) {
    open_cache();
    // A std::function copies what it holds, a decoder's buffers are not for copying.
    auto decode = std::make_shared<DecodeAhead>(decoder_->twin(), *cache_, band_rows_, row_bytes_);
    return [decode](std::span<const std::int64_t> rows) { (*decode)(rows); };
  }
  PagesAhead pages(
      mapped_, [this](std::int64_t row) { return std::span(mapped_row(row), stored_row_bytes_); });
  std::vector<std::int64_t> spread;
  const auto step = std::max<std::int64_t>(1, info_.rows() / PagesAhead::kProbes);
  for (std::int64_t row = 0; row < info_.rows(); row += step) spread.push_back(row);
  if (pages.in_memory(spread)) return {};
  return pages;
}

std::size_t RowReader::offset_in_band(std::int64_t row) const {
  return static_cast<std::size_t>(row % band_rows_) * row_bytes_;
}

void RowReader::prefetch_cached(std::int64_t row) const {
  const auto* band = cache_->expected_at(row / band_rows_);
  if (band != nullptr) prefetch(band + offset_in_band(row), row_bytes_);
}

BandCacheShape RowReader::cache_shape(std::size_t budget, std::int64_t window_rows) const {
  const auto band_bytes = static_cast<std::size_t>(band_rows_) * row_bytes_;
  // A window is left while the next one begins, and sets fill unevenly.
  const auto window_bands = window_rows > 0 ? window_rows / band_rows_ + 2 : 0;
  return shape_band_cache(bands(), band_bytes, budget, 3 * window_bands);
}

std::size_t RowReader::whole_cache_bytes() const {
  const bool decodes = access_ == RowAccess::kDecoded || access_ == RowAccess::kHdf5;
  return decodes ? BandCacheShape{.bands = bands(),
                                  .band_bytes = static_cast<std::size_t>(band_rows_) * row_bytes_,
                                  .fixed = bands()}
                       .bytes()
                 : 0;
}

std::size_t RowReader::cache_bytes(std::size_t budget, std::int64_t window_rows) const {
  return whole_cache_bytes() == 0 ? 0 : cache_shape(budget, window_rows).bytes();
}

void RowReader::share_cache(std::span<std::byte> memory, std::int64_t window_rows) {
  own_memory_.reset();
  cache_.emplace(cache_shape(memory.size(), window_rows), memory);
}

}  // namespace lockstep::data::detail
