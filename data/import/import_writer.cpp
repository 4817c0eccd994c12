#include "data/import/import_writer.hpp"
#include "data/shape_text.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::data::detail {
namespace {

constexpr std::int64_t kBlockBytes = std::int64_t{4} << 20;

std::size_t row_bytes_of(DType dtype, std::span<const std::int64_t> shape) {
  std::size_t bytes = size_of(dtype);
  for (const auto length : shape.subspan(1)) bytes *= static_cast<std::size_t>(length);
  return bytes;
}

/// Rows of a block: whole chunks, so that none is packed twice.
std::int64_t block_rows_of(std::size_t row_bytes, std::int64_t rows, const ColumnLayout& layout) {
  auto block = std::max<std::int64_t>(1, kBlockBytes / static_cast<std::int64_t>(row_bytes));
  if (layout.chunk_rows > 0) {
    const auto chunk = std::min(layout.chunk_rows, rows);
    block = std::max<std::int64_t>(1, block / chunk) * chunk;
  }
  return std::min(block, rows);
}

void check_output(const ImportOutput& output, std::span<const std::string> inputs) {
  const auto& layout = output.layout;
  if (layout.chunk_rows < 0 || layout.deflate < 0 || layout.deflate > 9) {
    throw base::ConfigError(
        "the layout of the file is impossible; give chunk rows from 1 and a level of 0 to 9");
  }
  if (layout.deflate > 0 && layout.chunk_rows == 0) {
    throw base::ConfigError(
        "compression needs chunks; give the rows of a chunk too, with --chunk-rows");
  }
  for (const auto& input : inputs) {
    std::error_code ignored;
    if (std::filesystem::equivalent(input, output.path, ignored)) {
      throw base::ConfigError("output " + base::quote(output.path) +
                              " is one of the inputs (it would be replaced); name another file");
    }
  }
}

const ImportOutput& checked(const ImportOutput& output, std::span<const std::string> inputs) {
  check_output(output, inputs);
  return output;
}

}  // namespace

ColumnFiller::ColumnFiller(DatasetWriter& writer, std::string name, DType dtype,
                           std::vector<std::int64_t> shape, const ColumnLayout& layout,
                           ByteOrder order)
    : writer_(&writer),
      name_(std::move(name)),
      shape_(std::move(shape)),
      order_(order),
      row_bytes_(row_bytes_of(dtype, shape_)),
      block_rows_(block_rows_of(row_bytes_, shape_.front(), layout)) {
  writer.add_column(name_, dtype, shape_, layout);
  block_.resize(static_cast<std::size_t>(block_rows_) * row_bytes_);
}

std::span<std::byte> ColumnFiller::next_rows(std::int64_t most) {
  if (used_ == block_rows_) flush();
  LOCKSTEP_EXPECT(most >= 1 && filled() < rows(),
                  "column " + base::quote(name_) + " got more rows than it has");
  const auto count = std::min({most, block_rows_ - used_, rows() - filled()});
  const auto bytes = std::span(block_).subspan(static_cast<std::size_t>(used_) * row_bytes_,
                                               static_cast<std::size_t>(count) * row_bytes_);
  used_ += count;
  return bytes;
}

void ColumnFiller::flush() {
  if (used_ == 0) return;
  writer_->write_rows(name_, begin_, used_,
                      std::span(block_).first(static_cast<std::size_t>(used_) * row_bytes_),
                      order_);
  begin_ += used_;
  used_ = 0;
}

void ColumnFiller::finish() {
  flush();
  LOCKSTEP_EXPECT(begin_ == rows(), "column " + base::quote(name_) + " lacks rows");
}

ImportWriter::ImportWriter(const ImportOutput& output, std::string_view format,
                           std::span<const std::string> inputs)
    : output_(checked(output, inputs)), writer_(output.path) {
  nlohmann::ordered_json source;
  source["format"] = format;
  source["files"] = nlohmann::ordered_json::array();
  for (const auto& input : inputs) source["files"].push_back(file_name_of(input));
  writer_.set_attribute("source", json_text(source));
}

ColumnFiller& ImportWriter::add_column(const std::string& name, DType dtype,
                                       std::vector<std::int64_t> shape, ByteOrder order) {
  result_.rows = shape.front();
  result_.bytes += static_cast<std::uint64_t>(shape.front()) * row_bytes_of(dtype, shape);
  result_.datasets.push_back(name + " " + std::string(name_of(dtype)) + " " + shape_text(shape));
  return columns_.emplace_back(writer_, name, dtype, std::move(shape), output_.layout, order);
}

void ImportWriter::set_attribute(const std::string& name, const std::string& text) {
  writer_.set_attribute(name, text);
}

void ImportWriter::set_attribute(const std::string& name, std::span<const std::string> names) {
  writer_.set_attribute(name,
                        json_text(nlohmann::ordered_json(std::vector(names.begin(), names.end()))));
}

void ImportWriter::progress(std::string_view phase, std::uint64_t done, std::uint64_t total) const {
  if (output_.progress) output_.progress({phase, done, total});
}

ImportResult ImportWriter::commit() {
  for (auto& column : columns_) column.finish();
  writer_.commit();
  return std::move(result_);
}

std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string file_name_of(const std::string& path) {
  const auto whole = std::filesystem::path(path).lexically_normal();
  // `folder/` has an empty last part.
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

}  // namespace lockstep::data::detail
