#pragma once
// Inputs as a model wants them: (x * scale - mean) / std as one multiplication and one addition in
// f32 an element. Internal to data/. Do not change the arithmetic: it is part of every run's bits.

#include <cstddef>
#include <span>
#include <vector>

#include "data/dataset_file.hpp"
#include "data/source.hpp"

namespace lockstep::data::detail {

class InputScaling {
 public:
  InputScaling() = default;
  /// Throws ConfigError when mean or std have another length than 0, 1 or the channels, or std is
  /// not positive.
  InputScaling(const SourceOptions& options, const ColumnInfo& inputs);

  bool is_identity() const;
  /// `raw`: whole rows of `dtype`; `out` as many elements.
  void apply(DType dtype, std::span<const std::byte> raw, std::span<float> out) const;

 private:
  std::vector<float> gain_ = {1};    ///< one, or one a channel
  std::vector<float> offset_ = {0};  ///< as many
  std::size_t channel_elements_ = 1;
};

}  // namespace lockstep::data::detail
