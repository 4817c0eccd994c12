#pragma once
// How a classifier's outputs compare with the true classes, as counts: whole numbers, so that any
// split of the samples over ranks adds up to the same. Used by the detailed evaluation.
// One thread.

#include <cstdint>
#include <span>
#include <vector>

namespace lockstep::trainer {

/// The class with the largest of `classes` outputs; of equal ones the lowest.
std::int64_t largest_class(const float* outputs, std::int64_t classes);

/// How many of the `classes` outputs come before that of `label`: larger ones, and equal ones of
/// lower classes. The label is among the top k when that is less than k.
std::int64_t classes_before(const float* outputs, std::int64_t classes, std::int64_t label);

/// What is counted besides right answers and the top k.
enum class CountDetail {
  kTotals,     ///< nothing
  kClasses,    ///< each class
  kConfusion,  ///< each class, and each pair of true and predicted class
};

class ClassCounts {
 public:
  /// `top_k`: each from 1 to `classes`.
  ClassCounts(std::int64_t classes, std::vector<std::int64_t> top_k, CountDetail detail);

  /// Counts samples: `outputs` [samples, classes] f32 without NaN, `labels` [samples].
  void add(const float* outputs, const std::int64_t* labels, std::int64_t samples);

  /// Every count in one piece, to be summed over ranks.
  std::span<std::int64_t> values() { return values_; }

  std::int64_t classes() const { return classes_; }
  bool has_classes() const { return detail_ != CountDetail::kTotals; }
  const std::vector<std::int64_t>& top_k() const { return top_k_; }
  std::int64_t samples() const { return values_[0]; }
  std::int64_t correct() const { return values_[1]; }
  /// Samples whose label is among the top_k()[i] largest outputs.
  std::int64_t hits(std::size_t i) const { return values_[2 + i]; }
  /// Samples that are of the class, that were taken for it, and both. Needs has_classes().
  std::int64_t support(std::int64_t label) const { return values_[class_place(label)]; }
  std::int64_t predicted(std::int64_t label) const { return values_[class_place(label) + 1]; }
  std::int64_t correct_of(std::int64_t label) const { return values_[class_place(label) + 2]; }
  /// [classes, classes]: row = true class, column = predicted one. Empty without kConfusion.
  std::span<const std::int64_t> confusion() const;

 private:
  std::size_t class_place(std::int64_t label) const {
    return 2 + top_k_.size() + static_cast<std::size_t>(label) * 3;
  }

  std::int64_t classes_;
  std::vector<std::int64_t> top_k_;
  CountDetail detail_;
  std::vector<std::int64_t> values_;  // samples, correct, hits, 3 a class, confusion
};

}  // namespace lockstep::trainer
