#pragma once
// Takes the labels of picked rows while their inputs are read. Those are waited for by the
// kilobyte, and labels that come meanwhile cost next to nothing; in a pass of their own each is
// waited for as well. Internal to data/; used by FileSource.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "data/dataset_file.hpp"

namespace lockstep::data::detail {

class LabelsBeside {
 public:
  /// Takes none.
  LabelsBeside() = default;
  /// `out`: the element at `at` of each of `rows`, as stored. All must outlive this.
  LabelsBeside(const RowPlaces& at, std::span<const std::int64_t> rows, std::span<std::byte> out)
      : at_(at), rows_(rows), out_(out.data()) {}

  /// The label of the i-th row. Call it for each row before trusting any.
  void take(std::size_t i) const {
    constexpr std::size_t kAhead = 8;
    if (out_ == nullptr) return;
    if (i + kAhead < rows_.size()) __builtin_prefetch(at_.of(rows_[i + kAhead]));
    const auto* label = at_.of(rows_[i]);
    switch (at_.stride) {
      case 1: std::memcpy(out_ + i, label, 1); break;
      case 2: std::memcpy(out_ + 2 * i, label, 2); break;
      case 4: std::memcpy(out_ + 4 * i, label, 4); break;
      default: std::memcpy(out_ + 8 * i, label, 8); break;
    }
  }

 private:
  RowPlaces at_{nullptr, 0};
  std::span<const std::int64_t> rows_;
  std::byte* out_ = nullptr;
};

}  // namespace lockstep::data::detail
