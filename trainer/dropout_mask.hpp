#pragma once
// The random part of dropout: which elements stay. Used by models through `dropout` (model.hpp).
// Torch-free, any thread.

#include <cstdint>

namespace lockstep::trainer {

/// What `probability`, in [0, 1), is in whole numbers and floats: an element whose random word is
/// below the threshold goes, any other is multiplied by `kept`.
struct DropoutOdds {
  std::uint32_t dropped_below = 0;
  float kept = 1;
};
constexpr DropoutOdds dropout_odds(double probability) {
  return {static_cast<std::uint32_t>(probability * 4294967296.0),
          static_cast<float>(1 / (1 - probability))};
}

/// mask[i] = 0 with `probability`, otherwise 1 / (1 - probability): a pure function of key and i
/// (Philox4x32-10, see base/philox.hpp), on every instruction set. Reads nothing.
void fill_dropout_mask(float* mask, std::int64_t count, double probability, std::uint64_t key);

}  // namespace lockstep::trainer
