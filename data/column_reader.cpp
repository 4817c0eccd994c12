#include "data/column_reader.hpp"

#include <hdf5.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/hdf5_types.hpp"

namespace lockstep::data::detail {
namespace {

constexpr std::int64_t kUnchunkedBandBytes = std::int64_t{1} << 20;

const char* const kDamageAdvice =
    "the file is damaged, or was written with a filter that this HDF5 lacks; make the file again";

}  // namespace

ColumnReader::ColumnReader(Hdf5Id hdf5_file, const std::string& path, const FileDescriptor& file,
                           const ColumnInfo& info, const DatasetFileOptions& options)
    : path_(path),
      file_(file),
      info_(info),
      row_bytes_(info.row_bytes()),
      whole_bytes_(options.whole_bytes) {
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
  const Hdf5Lock lock;
  dataset_ = Hdf5Handle(read_checked(H5Dopen2(hdf5_file, info.name.c_str(), H5P_DEFAULT),
                                     "H5Dopen2", described() + " cannot be opened", kDamageAdvice),
                        H5Dclose);
  direct_offset_ = find_direct_offset(file.size());
  if (direct_offset_) return;

  const auto row_bytes = static_cast<std::int64_t>(row_bytes_);
  band_rows_ = info.chunk.empty() ? std::max<std::int64_t>(1, kUnchunkedBandBytes / row_bytes)
                                  : info.chunk.front();
  band_rows_ = std::clamp<std::int64_t>(band_rows_, 1, std::max<std::int64_t>(1, info.rows()));
  most_bands_ = options.cache_bytes / (static_cast<std::size_t>(band_rows_) * row_bytes_);
}

std::optional<std::uint64_t> ColumnReader::find_direct_offset(std::uint64_t file_bytes) const {
  const Hdf5Handle plist(H5Dget_create_plist(dataset_.id()), H5Pclose);
  const Hdf5Handle type(H5Dget_type(dataset_.id()), H5Tclose);
  if (!plist || !type) return std::nullopt;
  if (H5Pget_layout(plist.id()) != H5D_CONTIGUOUS || H5Pget_external_count(plist.id()) != 0 ||
      H5Tequal(type.id(), hdf5_type(info_.dtype, ByteOrder::kNative).id()) <= 0) {
    return std::nullopt;
  }
  const auto offset = H5Dget_offset(dataset_.id());
  // No place in the file: never written, so all elements are the fill value, which HDF5 knows.
  if (offset == HADDR_UNDEF) return std::nullopt;
  const auto bytes = static_cast<std::uint64_t>(info_.rows()) * row_bytes_;
  if (offset > file_bytes || bytes > file_bytes - offset) {
    throw base::DataError(described() + " ends at byte " + std::to_string(offset + bytes) +
                          ", the file at " + std::to_string(file_bytes) +
                          " (the file was cut short); copy or make it again");
  }
  return offset;
}

void ColumnReader::read(std::int64_t begin, std::int64_t count, std::span<std::byte> out) {
  LOCKSTEP_EXPECT(begin >= 0 && count >= 0 && begin <= info_.rows() - count,
                  "rows " + std::to_string(begin) + " + " + std::to_string(count) + " of " +
                      described() + " do not exist");
  LOCKSTEP_EXPECT(out.size() == static_cast<std::size_t>(count) * row_bytes_,
                  "the buffer for rows of " + described() + " has another size");
  read_run({begin, 0, count}, out);
}

void ColumnReader::gather(std::span<const std::int64_t> rows, std::span<std::byte> out) {
  LOCKSTEP_EXPECT(out.size() == rows.size() * row_bytes_,
                  "the buffer for rows of " + described() + " has another size");
  if (direct_offset_ && static_cast<std::uint64_t>(info_.rows()) * row_bytes_ <= whole_bytes_) {
    gather_from_memory(rows, out);
    return;
  }
  plan_runs(rows);
  for (const auto& run : runs_) read_run(run, out);
}

void ColumnReader::gather_from_memory(std::span<const std::int64_t> rows,
                                      std::span<std::byte> out) {
  if (whole_.empty()) {
    whole_.resize(static_cast<std::size_t>(info_.rows()) * row_bytes_);
    file_.read_at(*direct_offset_, whole_);
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    require_row(rows[i]);
    std::memcpy(out.data() + i * row_bytes_,
                whole_.data() + static_cast<std::size_t>(rows[i]) * row_bytes_, row_bytes_);
  }
}

void ColumnReader::require_row(std::int64_t row) const {
  LOCKSTEP_EXPECT(row >= 0 && row < info_.rows(),
                  "row " + std::to_string(row) + " of " + described() + " does not exist");
}

void ColumnReader::plan_runs(std::span<const std::int64_t> rows) {
  row_and_place_.clear();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    require_row(rows[i]);
    row_and_place_.emplace_back(rows[i], static_cast<std::int64_t>(i));
  }
  std::sort(row_and_place_.begin(), row_and_place_.end());
  runs_.clear();
  for (const auto& [row, place] : row_and_place_) {
    if (!runs_.empty() && runs_.back().row + runs_.back().count == row &&
        runs_.back().place + runs_.back().count == place) {
      ++runs_.back().count;
    } else {
      runs_.push_back({row, place, 1});
    }
  }
}

void ColumnReader::read_run(const Run& run, std::span<std::byte> out) {
  auto part = out.subspan(static_cast<std::size_t>(run.place) * row_bytes_,
                          static_cast<std::size_t>(run.count) * row_bytes_);
  if (direct_offset_) {
    file_.read_at(*direct_offset_ + static_cast<std::uint64_t>(run.row) * row_bytes_, part);
    return;
  }
  if (most_bands_ == 0) {
    decode(run.row, run.count, part);
    return;
  }
  auto row = run.row;
  while (!part.empty()) {
    const auto rows_of_band = band(row / band_rows_);
    const auto start = static_cast<std::size_t>(row % band_rows_) * row_bytes_;
    const auto bytes = std::min(part.size(), rows_of_band.size() - start);
    std::memcpy(part.data(), rows_of_band.data() + start, bytes);
    part = part.subspan(bytes);
    row += static_cast<std::int64_t>(bytes / row_bytes_);
  }
}

std::span<const std::byte> ColumnReader::band(std::int64_t index) {
  if (const auto found = band_of_.find(index); found != band_of_.end()) {
    bands_.splice(bands_.begin(), bands_, found->second);
    return bands_.front().bytes;
  }
  Band fresh{index, {}};
  if (bands_.size() >= most_bands_) {
    fresh.bytes = std::move(bands_.back().bytes);
    band_of_.erase(bands_.back().index);
    bands_.pop_back();
  }
  const auto begin = index * band_rows_;
  const auto count = std::min(band_rows_, info_.rows() - begin);
  fresh.bytes.resize(static_cast<std::size_t>(count) * row_bytes_);
  decode(begin, count, fresh.bytes);
  bands_.push_front(std::move(fresh));
  band_of_[index] = bands_.begin();
  return bands_.front().bytes;
}

void ColumnReader::decode(std::int64_t begin, std::int64_t count, std::span<std::byte> out) {
  if (count == 0) return;
  std::vector<hsize_t> start(info_.shape.size(), 0);
  std::vector<hsize_t> extent(info_.shape.begin(), info_.shape.end());
  start[0] = static_cast<hsize_t>(begin);
  extent[0] = static_cast<hsize_t>(count);
  const auto what = described() + " could not be read at row " + std::to_string(begin);

  const Hdf5Lock lock;
  const Hdf5Handle file_space(
      read_checked(H5Dget_space(dataset_.id()), "H5Dget_space", what, kDamageAdvice), H5Sclose);
  read_checked(H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start.data(), nullptr,
                                   extent.data(), nullptr),
               "H5Sselect_hyperslab", what, kDamageAdvice);
  const Hdf5Handle memory_space(
      read_checked(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr),
                   "H5Screate_simple", what, kDamageAdvice),
      H5Sclose);
  const auto type = hdf5_type(info_.dtype, ByteOrder::kNative);
  read_checked(H5Dread(dataset_.id(), type.id(), memory_space.id(), file_space.id(), H5P_DEFAULT,
                       out.data()),
               "H5Dread", what, kDamageAdvice);
}

std::string ColumnReader::described() const {
  return "dataset " + base::quote(info_.name) + " of " + base::quote(path_);
}

}  // namespace lockstep::data::detail
