#include "data/read_ahead.hpp"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/error.hpp"

namespace lockstep::data {

struct ReadAhead::State {
  State(const LoaderPlan& loader_plan, std::vector<BringSamples> bring, std::int64_t most)
      : plan(loader_plan),
        per_step(plan.micro_end - plan.micro_begin),
        total((plan.last_step - plan.first_step) * per_step),
        batches(most) {
    for (auto& one : bring) {
      threads.emplace_back([this, bring_samples = std::move(one)] { run(bring_samples); });
    }
  }

  ~State() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    moved.notify_all();
    for (auto& thread : threads) thread.join();
  }

  void run(const BringSamples& bring) {
    MicroBatchRows rows_of(plan);
    std::vector<std::int64_t> rows;
    try {
      while (const auto number = take()) {
        const auto step = plan.first_step + *number / per_step;
        rows_of(step, plan.micro_begin + *number % per_step, rows);
        bring(rows, step / steps_per_epoch(plan.samples, plan.global_batch));
      }
    } catch (const base::Error&) {
      // The reader finds it too, and says so after all samples before it.
    }
  }

  /// The next micro-batch to bring in, after a wait for the reader; none at the end.
  std::optional<std::int64_t> take() {
    std::unique_lock lock(mutex);
    moved.wait(lock, [this] {
      next = std::max(next, reader + 1);
      return stopping || next >= total || next <= reader + batches;
    });
    if (stopping || next >= total) return std::nullopt;
    return next++;
  }

  const LoaderPlan plan;
  const std::int64_t per_step;
  const std::int64_t total;
  const std::int64_t batches;
  std::mutex mutex;
  std::condition_variable moved;
  std::int64_t reader = -1;  ///< the micro-batch that it reads
  std::int64_t next = 0;
  bool stopping = false;
  std::vector<std::thread> threads;
};

ReadAhead::ReadAhead(const LoaderPlan& plan, std::vector<BringSamples> bring, std::int64_t batches)
    : state_(std::make_unique<State>(plan, std::move(bring), batches)) {}

ReadAhead::~ReadAhead() = default;

void ReadAhead::reached(std::int64_t number) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->reader = number;
  }
  state_->moved.notify_all();
}

}  // namespace lockstep::data
