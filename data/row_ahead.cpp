#include "data/row_ahead.hpp"

#include <algorithm>

namespace lockstep::data::detail {

void DecodeAhead::operator()(std::span<const std::int64_t> rows) {
  bands_.clear();
  for (const auto row : rows) bands_.push_back(row / band_rows_);
  std::sort(bands_.begin(), bands_.end());
  bands_.erase(std::unique(bands_.begin(), bands_.end()), bands_.end());
  for (const auto band : bands_) {
    auto place = cache_.take(band);
    if (place.hold == BandCache::Hold::kFill) {
      try {
        const auto count = decoder_.rows_of(band);
        decoder_.decode(band, {place.bytes, static_cast<std::size_t>(count) * row_bytes_});
      } catch (...) {
        cache_.abandon(place);
        throw;
      }
      cache_.publish(place);
    }
    if (place.hold == BandCache::Hold::kRead) cache_.release(place);
  }
}

bool PagesAhead::in_memory(std::span<const std::int64_t> rows) const {
  const auto step = std::max<std::size_t>(1, rows.size() / kProbes);
  for (std::size_t i = 0; i < rows.size(); i += step) {
    if (!mapped_->in_memory(row_(rows[i]))) return false;
  }
  return true;
}

void PagesAhead::operator()(std::span<const std::int64_t> rows) {
  if (in_memory(rows)) return;
  wanted_.clear();
  for (const auto row : rows) wanted_.push_back(row_(row));
  std::sort(wanted_.begin(), wanted_.end(),
            [](const auto& a, const auto& b) { return a.data() < b.data(); });
  for (const auto& bytes : wanted_) mapped_->bring_in(bytes);
}

}  // namespace lockstep::data::detail
