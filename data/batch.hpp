#pragma once
// The samples of one micro-batch in host memory. Filled by SampleSource, carried by Loader, viewed
// as tensors by the trainer. Moved, never copied; a recycled Batch keeps its buffers.

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace lockstep::data {

enum class TaskKind { kClassification, kRegression, kTokens };

/// `classification`, `regression`, `tokens`.
const char* name_of(TaskKind kind);

/// Memory that starts at a cache line, so that vector loads never straddle one.
template <class T>
struct AlignedAllocator {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{64};

  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}

  T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), kAlignment));
  }
  void deallocate(T* memory, std::size_t) { ::operator delete(memory, kAlignment); }
  friend bool operator==(AlignedAllocator, AlignedAllocator) { return true; }
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

/// Which two of the four buffers are filled depends on `kind`; the others are empty.
struct Batch {
  TaskKind kind = TaskKind::kClassification;
  std::int64_t samples = 0;
  std::int64_t epoch = 0;
  std::int64_t step = 0;
  std::int64_t micro_batch = 0;    ///< index within the step
  std::vector<std::int64_t> rows;  ///< [samples] sample numbers in the file

  AlignedVector<float> inputs;          ///< classification, regression: [samples, ...input_shape]
  AlignedVector<std::int64_t> tokens;   ///< tokens: [samples, context]
  AlignedVector<std::int64_t> classes;  ///< classification: [samples]; tokens: [samples, context],
                                        ///< the token after each of `tokens`
  AlignedVector<float> values;          ///< regression: [samples, ...target_shape]
};

}  // namespace lockstep::data
