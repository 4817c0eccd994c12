#pragma once
// Import of IDX files, the format of the MNIST family of datasets (Y. LeCun, C. Cortes,
// C. J. C. Burges: "The MNIST database of handwritten digits", section "File formats"), plain or
// gzip. Local; any thread.

#include <string>

#include "data/import/import.hpp"

namespace lockstep::data {

enum class LabelType { kAsStored, kI64 };

struct ImportIdxOptions {
  LabelType labels = LabelType::kAsStored;
};

/// Writes `images` as dataset `x` [rows, ...] and `labels` as dataset `y` [rows] in bounded memory.
/// Throws DataError with a byte offset when an IDX file is damaged or the two do not belong
/// together.
ImportResult import_idx(const std::string& images, const std::string& labels,
                        const ImportOutput& output, const ImportIdxOptions& options = {});

}  // namespace lockstep::data
