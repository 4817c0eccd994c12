#pragma once
// Which samples a rank evaluates: batches cut the same way at any rank count, every sample exactly
// once, no padding. Pure, any thread.

#include <cstdint>

namespace lockstep::data {

/// [begin, end)
struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

class EvaluationPlan {
 public:
  /// Batches of `batch` samples over [0, samples); the last one may be shorter. Throws ConfigError
  /// unless samples >= 0 and batch >= 1.
  EvaluationPlan(std::int64_t samples, std::int64_t batch);

  std::int64_t batches() const;
  /// Samples of a batch.
  Range samples_of(std::int64_t batch) const;
  /// Batches of a rank: contiguous, in rank order, sizes differ by at most one (or are zero).
  Range batches_of(int rank, int ranks) const;

 private:
  std::int64_t samples_;
  std::int64_t batch_;
};

}  // namespace lockstep::data
