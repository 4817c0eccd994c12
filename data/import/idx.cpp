#include "data/import/idx.hpp"

#include <algorithm>
#include <array>
#include <type_traits>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/elements.hpp"
#include "data/import/idx_stream.hpp"
#include "data/import/import_writer.hpp"

namespace lockstep::data {
namespace {

using detail::IdxStream;
using detail::ImportWriter;
using detail::to_i64;
using detail::with_elements;

constexpr std::int64_t kLabelsAtOnce = std::int64_t{1} << 16;

void copy_column(IdxStream& stream, const std::string& name, ImportWriter& writer) {
  auto& column = writer.add_column(name, stream.dtype(), stream.shape(), ByteOrder::kBigEndian);
  while (column.filled() < column.rows()) {
    stream.read(column.next_rows(column.rows()));
    writer.progress("writing " + name, static_cast<std::uint64_t>(column.filled()),
                    static_cast<std::uint64_t>(column.rows()));
  }
  stream.expect_end();
}

void widen_labels(IdxStream& stream, ImportWriter& writer) {
  if (size_of(stream.dtype()) != 1) {
    throw base::DataError("labels in " + base::quote(stream.path()) + " are " +
                          std::string(name_of(stream.dtype())) +
                          " (only labels of one byte are widened to i64); import them as stored");
  }
  auto& column = writer.add_column("y", DType::kI64, stream.shape());
  std::vector<std::byte> block(kLabelsAtOnce);
  while (column.filled() < column.rows()) {
    const auto bytes = column.next_rows(kLabelsAtOnce);
    const auto labels = std::span(reinterpret_cast<std::int64_t*>(bytes.data()),
                                  bytes.size() / sizeof(std::int64_t));
    const auto stored = std::span(block).first(labels.size());
    stream.read(stored);
    with_elements(stream.dtype(), stored, [&]<class T>(std::span<const T> elements) {
      if constexpr (std::is_integral_v<T>) {
        std::transform(elements.begin(), elements.end(), labels.begin(), to_i64<T>);
      }
    });
  }
  stream.expect_end();
}

}  // namespace

ImportResult import_idx(const std::string& images, const std::string& labels,
                        const ImportOutput& output, const ImportIdxOptions& options) {
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

  ImportWriter writer(output, "idx", std::array{images, labels});
  copy_column(image_stream, "x", writer);
  if (options.labels == LabelType::kI64) {
    widen_labels(label_stream, writer);
  } else {
    copy_column(label_stream, "y", writer);
  }
  return writer.commit();
}

}  // namespace lockstep::data
