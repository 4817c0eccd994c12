#pragma once
// Reads a rank's micro-batches ahead of the training step on one background thread.
// `next` and `recycle` are called by one thread. The loader's threads are the only users of the
// source while the loader lives. Memory: at most depth + 2 batches, or 64 where these are below 1
// MiB.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "data/batch.hpp"
#include "data/loader_plan.hpp"
#include "data/source.hpp"

namespace lockstep::data {

struct LoaderOptions {
  std::int64_t depth = 4;                       ///< micro-batches read ahead, at least 1
  std::chrono::milliseconds deadline{300'000};  ///< longest wait of `next`
  std::int64_t decode_threads = 1;              ///< threads that bring coming samples into memory
};

class Loader {
 public:
  /// Fills a batch, whose `epoch`, `step` and `micro_batch` are set, with the given samples, as
  /// SampleSource::read does for training.
  using ReadSamples = std::function<void(std::span<const std::int64_t> rows, Batch& batch)>;

  /// `source` must outlive the loader. Throws ConfigError when the plan does not fit.
  Loader(SampleSource& source, const LoaderPlan& plan, LoaderOptions options = {});
  /// `name` is what messages call the data.
  Loader(ReadSamples read, std::string name, const LoaderPlan& plan, LoaderOptions options = {});
  /// Stops after the read in progress.
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The next micro-batch: step by step, in each step micro_begin to micro_end. Throws what
  /// reading it threw (after all batches before it were handed out), or TimeoutError naming the
  /// data and the step.
  Batch next();
  /// Micro-batches not yet handed out by `next`.
  std::int64_t remaining() const;
  /// Gives a batch's buffers back for reuse.
  void recycle(Batch&& batch);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lockstep::data
