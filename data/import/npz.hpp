#pragma once
// Import of NumPy archives (.npz): zip files of .npy arrays, packed or not. Local; any thread.

#include <string>

#include "data/import/import.hpp"

namespace lockstep::data {

struct ImportNpzOptions {
  /// Names of the arrays, without `.npy`. When `inputs` is empty, the first of the usual pairs that
  /// is there is taken: x and y, X and Y, x_train and y_train, ...; when it is given and `targets`
  /// is empty, there are no targets.
  std::string inputs{};
  std::string targets{};
};

/// As import_npy, for two arrays of the archive `path`. Throws DataError with the list of arrays
/// when none are named and no usual pair is there.
ImportResult import_npz(const std::string& path, const ImportOutput& output,
                        const ImportNpzOptions& options = {});

}  // namespace lockstep::data
