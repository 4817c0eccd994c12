#include "data/import/idx.hpp"

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/elements.hpp"
#include "data/import/idx_stream.hpp"

namespace lockstep::data {
namespace {

using detail::IdxStream;

constexpr std::size_t kBlockBytes = std::size_t{4} << 20;

/// Calls `use(begin, count, bytes)` for blocks of rows until the file is done.
template <class Use>
void for_each_block(IdxStream& stream, const Use& use) {
  const auto rows = stream.shape()[0];
  const auto block_rows =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(kBlockBytes / stream.row_bytes()));
  std::vector<std::byte> block;
  for (std::int64_t begin = 0; begin < rows; begin += block_rows) {
    const auto count = std::min(block_rows, rows - begin);
    block.resize(static_cast<std::size_t>(count) * stream.row_bytes());
    stream.read(block);
    use(begin, count, std::span<const std::byte>(block));
  }
  stream.expect_end();
}

void copy_column(IdxStream& stream, const std::string& name, DatasetWriter& writer,
                 const ColumnLayout& layout) {
  writer.add_column(name, stream.dtype(), stream.shape(), layout);
  for_each_block(stream, [&](std::int64_t begin, std::int64_t count, auto bytes) {
    writer.write_rows(name, begin, count, bytes, ByteOrder::kBigEndian);
  });
}

void widen_labels(IdxStream& stream, DatasetWriter& writer, const ColumnLayout& layout) {
  if (size_of(stream.dtype()) != 1) {
    throw base::DataError("labels in " + base::quote(stream.path()) + " are " +
                          std::string(name_of(stream.dtype())) +
                          " (only labels of one byte are widened to i64); import them as stored");
  }
  writer.add_column("y", DType::kI64, stream.shape(), layout);
  std::vector<std::int64_t> labels;
  for_each_block(stream, [&](std::int64_t begin, std::int64_t count, auto bytes) {
    labels.resize(bytes.size());
    detail::with_elements(stream.dtype(), bytes, [&]<class T>(std::span<const T> elements) {
      if constexpr (std::is_integral_v<T>) {
        std::transform(elements.begin(), elements.end(), labels.begin(), detail::to_i64<T>);
      }
    });
    writer.write_rows("y", begin, count, std::as_bytes(std::span(labels)));
  });
}

}  // namespace

ImportIdxResult import_idx(const std::string& images, const std::string& labels,
                           const std::string& output, const ImportIdxOptions& options) {
  IdxStream image_stream(images);
  IdxStream label_stream(labels);
  if (image_stream.shape().size() < 2) {
    throw base::DataError("IDX file " + base::quote(images) +
                          " has one dimension (images have at least two); were labels and images "
                          "swapped?");
  }
  if (label_stream.shape().size() != 1) {
    throw base::DataError("IDX file " + base::quote(labels) + " has " +
                          std::to_string(label_stream.shape().size()) +
                          " dimensions (labels have one); were labels and images swapped?");
  }
  if (image_stream.shape()[0] != label_stream.shape()[0]) {
    throw base::DataError("IDX files " + base::quote(images) + " and " + base::quote(labels) +
                          " have " + std::to_string(image_stream.shape()[0]) + " and " +
                          std::to_string(label_stream.shape()[0]) +
                          " rows (at byte 4 of each; they do not belong together); give the two "
                          "files of one set");
  }

  DatasetWriter writer(output);
  copy_column(image_stream, "x", writer, options.layout);
  if (options.labels == LabelType::kI64) {
    widen_labels(label_stream, writer, options.layout);
  } else {
    copy_column(label_stream, "y", writer, options.layout);
  }
  writer.commit();
  const auto rows = image_stream.shape()[0];
  const auto label_bytes =
      options.labels == LabelType::kI64 ? sizeof(std::int64_t) : label_stream.row_bytes();
  return {.rows = rows,
          .bytes = static_cast<std::uint64_t>(rows) * (image_stream.row_bytes() + label_bytes)};
}

}  // namespace lockstep::data
