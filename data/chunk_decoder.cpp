#include "data/chunk_decoder.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace lockstep::data::detail {

ChunkDecoder::ChunkDecoder(const MappedFile& mapped, const StoredColumn& column, ChunkIndex index,
                           std::string what)
    : mapped_(mapped),
      column_(column),
      index_(std::move(index)),
      what_(std::move(what)),
      grid_(chunk_grid(column)),
      chunk_bytes_(column.element.bytes),
      stored_row_bytes_(column.element.bytes),
      filters_(column.filters) {
  for (const auto length : column.chunk) chunk_bytes_ *= static_cast<std::size_t>(length);
  for (std::size_t axis = 1; axis < grid_.size(); ++axis) {
    chunks_of_band_ *= static_cast<std::size_t>(grid_[axis]);
    stored_row_bytes_ *= static_cast<std::size_t>(column.extent[axis]);
    full_width_ = full_width_ && column.chunk[axis] == column.extent[axis];
  }
  plain_ = full_width_ && column.filters.empty() && column.element.is_native();
  if (column.filters.empty()) {
    for (std::size_t i = 0; i < index_.size(); ++i) {
      if (index_[i].bytes != 0 && index_[i].bytes < chunk_bytes_) {
        refuse(static_cast<std::int64_t>(i / chunks_of_band_) * column.chunk[0],
               "is smaller than a chunk");
      }
    }
  }
  std::vector<std::byte> stored_fill(stored_row_bytes_);
  fill_part(stored_fill);
  fill_row_.resize(stored_row_bytes_ / column.element.bytes * column.element.value_bytes());
  column_.element.extract(stored_fill, fill_row_);
}

std::int64_t ChunkDecoder::rows_of(std::int64_t band) const {
  return std::min(column_.chunk[0], column_.extent[0] - band * column_.chunk[0]);
}

void ChunkDecoder::refuse(std::int64_t row, const std::string& problem) const {
  throw base::DataError(what_ + " could not be read at row " + std::to_string(row) +
                        " (the chunk there " + problem +
                        "); the file is damaged, copy or make it again");
}

const std::byte* ChunkDecoder::plain_band(std::int64_t band) const {
  const auto& place = index_[static_cast<std::size_t>(band)];
  return place.bytes == 0 ? nullptr : mapped_.bytes().data() + place.offset;
}

void ChunkDecoder::decode(std::int64_t band, std::span<std::byte> out) {
  if (column_.element.is_native()) {
    decode_stored(band, out);
  } else {
    stored_.resize(static_cast<std::size_t>(rows_of(band)) * stored_row_bytes_);
    decode_stored(band, stored_);
    column_.element.extract(stored_, out);
  }
  mapped_.require_whole();
}

std::span<const std::byte> ChunkDecoder::stored_bytes(const ChunkPlace& place) const {
  return mapped_.bytes().subspan(place.offset, place.bytes);
}

void ChunkDecoder::decode_stored(std::int64_t band, std::span<std::byte> out) {
  const auto band_begin = band * column_.chunk[0];
  Corner corner(grid_.size(), 0);
  corner[0] = band_begin;
  const auto first = static_cast<std::size_t>(band) * chunks_of_band_;
  for (std::size_t i = 0; i < chunks_of_band_; ++i) {
    const auto& place = index_[first + i];
    std::span<const std::byte> decoded;
    if (place.bytes == 0) {
      chunk_.resize(chunk_bytes_);
      fill_part(chunk_);
      decoded = chunk_;
    } else if (column_.filters.empty()) {
      decoded = stored_bytes(place);
    } else {
      // A whole band of one chunk is decoded where it is wanted.
      const bool in_place = full_width_ && out.size() == chunk_bytes_;
      if (!in_place) chunk_.resize(chunk_bytes_);
      const auto to = in_place ? out : std::span(chunk_);
      if (const auto problem = filters_.decode(stored_bytes(place), place.mask, to)) {
        mapped_.require_whole();
        refuse(band_begin, "holds " + *problem);
      }
      if (in_place) return;
      decoded = to;
    }
    copy_part(decoded, corner, band_begin, out);
    for (auto axis = grid_.size(); axis-- > 1;) {
      corner[axis] += column_.chunk[axis];
      if (corner[axis] < column_.extent[axis]) break;
      corner[axis] = 0;
    }
  }
}

void ChunkDecoder::fill_part(std::span<std::byte> out) const {
  for (std::size_t at = 0; at < out.size(); at += column_.fill.size()) {
    std::memcpy(out.data() + at, column_.fill.data(), column_.fill.size());
  }
}

void ChunkDecoder::copy_part(std::span<const std::byte> chunk, const Corner& corner,
                             std::int64_t band_begin, std::span<std::byte> out) const {
  const auto element = column_.element.bytes;
  if (full_width_) {
    std::memcpy(out.data(), chunk.data(), out.size());
    return;
  }
  // Runs along the last axis, one after the other; what lies beyond the dataset's edge is left out.
  const auto rank = grid_.size();
  const auto last = rank - 1;
  const auto wanted = [&](std::size_t axis) {
    const auto end =
        axis == 0 ? band_begin + rows_of(band_begin / column_.chunk[0]) : column_.extent[axis];
    return std::min(column_.chunk[axis], end - corner[axis]);
  };
  const auto run = static_cast<std::size_t>(wanted(last)) * element;
  Corner at(rank, 0);
  while (true) {
    std::size_t from = 0;
    std::size_t to = 0;
    for (std::size_t axis = 0; axis < rank; ++axis) {
      const auto origin = axis == 0 ? band_begin : 0;
      from =
          from * static_cast<std::size_t>(column_.chunk[axis]) + static_cast<std::size_t>(at[axis]);
      to = to * static_cast<std::size_t>(column_.extent[axis]) +
           static_cast<std::size_t>(corner[axis] + at[axis] - origin);
    }
    std::memcpy(out.data() + to * element, chunk.data() + from * element, run);
    auto axis = last;
    while (axis-- > 0) {
      if (++at[axis] < wanted(axis)) break;
      at[axis] = 0;
    }
    if (axis == static_cast<std::size_t>(-1)) return;
  }
}

}  // namespace lockstep::data::detail
