#pragma once
// Hands a training step its micro-batches from the loader. Used by Trainer and by the benchmark of
// a step's data. One rank, one thread; local.

#include <chrono>
#include <utility>

#include "data/loader.hpp"
#include "trainer/batch_tensors.hpp"

namespace lockstep::trainer {

class StepBatches {
 public:
  /// `source` must outlive this. Throws ConfigError when the plan does not fit.
  StepBatches(data::SampleSource& source, const data::LoaderPlan& plan,
              const data::LoaderOptions& options)
      : source_(source), loader_(source, plan, options) {}

  /// The next micro-batch of the plan, alive until the next call. Throws what Loader::next does.
  MicroBatch next() {
    const auto begin = std::chrono::steady_clock::now();
    if (batch_.samples > 0) loader_.recycle(std::move(batch_));
    batch_ = loader_.next();
    waited_ += std::chrono::steady_clock::now() - begin;
    return tensors_of(batch_, source_.info());
  }

  /// Time spent waiting for data since the last call.
  std::chrono::nanoseconds take_waited() { return std::exchange(waited_, {}); }

 private:
  data::SampleSource& source_;
  data::Loader loader_;
  data::Batch batch_;
  std::chrono::nanoseconds waited_{0};
};

}  // namespace lockstep::trainer
