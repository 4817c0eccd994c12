#pragma once
// Import of NumPy arrays: .npy files of format 1.0 to 3.0 (numpy.lib.format). Local; any thread.

#include <string>

#include "data/import/import.hpp"

namespace lockstep::data {

/// Writes the array `inputs` as dataset `x` [rows, ...], and `targets`, unless it is empty, as `y`.
/// Element types stay as they are, bool becomes u8; integer targets [rows, 1] become [rows]. C and
/// Fortran order, little and big endian. Throws DataError for damaged files, and for arrays of
/// Python objects, structures, texts, dates and complex numbers: nothing is ever unpickled.
ImportResult import_npy(const std::string& inputs, const std::string& targets,
                        const ImportOutput& output);

}  // namespace lockstep::data
