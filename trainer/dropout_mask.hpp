#pragma once
// The random part of dropout: which elements stay. Used by models through `dropout` (model.hpp).
// Torch-free, any thread.

#include <cstdint>

namespace lockstep::trainer {

/// mask[i] = 0 with `probability`, otherwise 1 / (1 - probability): a pure function of key and i
/// (Philox4x32-10, see base/philox.hpp), on every instruction set. Reads nothing.
void fill_dropout_mask(float* mask, std::int64_t count, double probability, std::uint64_t key);

}  // namespace lockstep::trainer
