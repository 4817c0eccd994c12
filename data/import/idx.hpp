#pragma once
// Import of IDX files, the format of the MNIST family of datasets (Y. LeCun, C. Cortes,
// C. J. C. Burges: "The MNIST database of handwritten digits", section "File formats"), plain or
// gzip. Local; any thread.

#include <cstdint>
#include <string>

#include "data/dataset_writer.hpp"

namespace lockstep::data {

enum class LabelType { kAsStored, kI64 };

struct ImportIdxOptions {
  LabelType labels = LabelType::kAsStored;
  ColumnLayout layout{};
};

struct ImportIdxResult {
  std::int64_t rows = 0;
  std::uint64_t bytes = 0;  ///< of elements written
};

/// Writes `images` as dataset `x` [rows, ...] and `labels` as dataset `y` [rows] into a new file
/// `output`, in bounded memory; an existing file is replaced only by a complete one. Throws
/// DataError with a byte offset when an IDX file is damaged or the two do not belong together.
ImportIdxResult import_idx(const std::string& images, const std::string& labels,
                           const std::string& output, const ImportIdxOptions& options = {});

}  // namespace lockstep::data
