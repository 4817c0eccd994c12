#include "trainer/class_counts.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace lockstep::trainer {

std::int64_t largest_class(const float* outputs, std::int64_t classes) {
  return std::max_element(outputs, outputs + classes) - outputs;
}

std::int64_t classes_before(const float* outputs, std::int64_t classes, std::int64_t label) {
  const float own = outputs[label];
  std::int64_t before = 0;
  for (std::int64_t c = 0; c < label; ++c) before += outputs[c] >= own ? 1 : 0;
  for (std::int64_t c = label + 1; c < classes; ++c) before += outputs[c] > own ? 1 : 0;
  return before;
}

ClassCounts::ClassCounts(std::int64_t classes, std::vector<std::int64_t> top_k, CountDetail detail)
    : classes_(classes), top_k_(std::move(top_k)), detail_(detail) {
  for (const auto k : top_k_) {
    LOCKSTEP_EXPECT(k >= 1 && k <= classes_, "top-k of a number that is none of classes");
  }
  auto size = 2 + top_k_.size();
  const auto count = static_cast<std::size_t>(classes_);
  if (detail_ != CountDetail::kTotals) size += 3 * count;
  if (detail_ == CountDetail::kConfusion) size += count * count;
  values_.resize(size);
}

void ClassCounts::add(const float* outputs, const std::int64_t* labels, std::int64_t samples) {
  values_[0] += samples;
  for (std::int64_t row = 0; row < samples; ++row, outputs += classes_) {
    const auto label = labels[row];
    LOCKSTEP_EXPECT(label >= 0 && label < classes_, "a label that is no class");
    const auto before = classes_before(outputs, classes_, label);
    values_[1] += before == 0 ? 1 : 0;
    for (std::size_t i = 0; i < top_k_.size(); ++i) values_[2 + i] += before < top_k_[i] ? 1 : 0;
    if (detail_ == CountDetail::kTotals) continue;
    const auto answer = before == 0 ? label : largest_class(outputs, classes_);
    ++values_[class_place(label)];
    ++values_[class_place(answer) + 1];
    if (answer == label) ++values_[class_place(label) + 2];
    if (detail_ == CountDetail::kConfusion) {
      ++values_[class_place(classes_) + static_cast<std::size_t>(label * classes_ + answer)];
    }
  }
}

std::span<const std::int64_t> ClassCounts::confusion() const {
  if (detail_ != CountDetail::kConfusion) return {};
  return std::span(values_).subspan(class_place(classes_));
}

}  // namespace lockstep::trainer
