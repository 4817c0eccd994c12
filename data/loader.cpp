#include "data/loader.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/read_ahead.hpp"

namespace lockstep::data {
namespace {

/// Small batches are read ahead by the dozen: handing each one over alone costs more than reading
/// it, since the reader has to be woken, often on the very core that waits.
constexpr std::size_t kSmallAheadBytes = 1 << 20;
constexpr std::int64_t kSmallAheadBatches = 64;

std::size_t bytes_of(const Batch& batch) {
  return batch.inputs.size() * sizeof(batch.inputs[0]) +
         batch.values.size() * sizeof(batch.values[0]) +
         batch.classes.size() * sizeof(batch.classes[0]) +
         batch.tokens.size() * sizeof(batch.tokens[0]);
}

}  // namespace

struct Loader::State {
  State(ReadSamples read_samples, std::string data_name, const LoaderPlan& loader_plan,
        LoaderOptions loader_options, std::unique_ptr<ReadAhead> read_ahead = nullptr)
      : ahead_of_reader(std::move(read_ahead)),
        read(std::move(read_samples)),
        name(std::move(data_name)),
        plan(loader_plan),
        options(loader_options),
        rows_of(plan) {
    check(plan);
    if (options.depth < 1) {
      throw base::ConfigError("queue depth " + std::to_string(options.depth) +
                              " is impossible; set data.queue_depth to 1 or more");
    }
    capacity = options.depth;
    remaining = (plan.last_step - plan.first_step) * (plan.micro_end - plan.micro_begin);
    thread = std::thread([this] { run(); });
  }

  ~State() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    room.notify_one();
    thread.join();
  }

  void run() {
    std::int64_t number = 0;
    try {
      for (auto step = plan.first_step; step < plan.last_step; ++step) {
        for (auto index = plan.micro_begin; index < plan.micro_end; ++index) {
          auto batch = take_buffers();
          if (!batch) return;
          if (ahead_of_reader) ahead_of_reader->reached(number++);
          rows_of(step, index, rows);
          batch->epoch = step / steps_per_epoch(plan.samples, plan.global_batch);
          batch->step = step;
          batch->micro_batch = index;
          read(rows, *batch);
          put(std::move(*batch));
        }
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
    came.notify_one();
  }

  /// Waits for room in the queue; nothing when the loader is to stop. A full queue is filled again
  /// once it is half empty.
  std::optional<Batch> take_buffers() {
    std::unique_lock lock(mutex);
    if (ahead() >= capacity) {
      reader_waits = true;
      room.wait(lock, [this] { return stopping || ahead() <= capacity / 2; });
      reader_waits = false;
    }
    if (stopping) return std::nullopt;
    if (spare.empty()) return Batch{};
    auto batch = std::move(spare.back());
    spare.pop_back();
    return batch;
  }

  void put(Batch&& batch) {
    bool wake = false;
    {
      const std::lock_guard lock(mutex);
      const auto fitting = kSmallAheadBytes / std::max<std::size_t>(bytes_of(batch), 1);
      capacity =
          std::max(options.depth, std::min(kSmallAheadBatches, static_cast<std::int64_t>(fitting)));
      queue.push_back(std::move(batch));
      wake = trainer_waits;
    }
    if (wake) came.notify_one();
  }

  std::int64_t ahead() const { return static_cast<std::int64_t>(queue.size()); }

  Batch next() {
    std::unique_lock lock(mutex);
    LOCKSTEP_EXPECT(remaining > 0, "the loader of " + base::quote(name) +
                                       " was asked for more than its plan holds");
    trainer_waits = true;
    const bool arrived =
        came.wait_for(lock, options.deadline, [this] { return !queue.empty() || failure; });
    trainer_waits = false;
    if (!arrived) {
      const auto per_step = plan.micro_end - plan.micro_begin;
      const auto step = plan.last_step - 1 - (remaining - 1) / per_step;
      throw base::TimeoutError("no samples came from " + base::quote(name) + " for step " +
                               std::to_string(step) + " within " +
                               base::format_duration(options.deadline) +
                               " (the file system does not answer, or reading is far too slow); "
                               "check the file's storage");
    }
    if (queue.empty()) std::rethrow_exception(failure);
    auto batch = std::move(queue.front());
    queue.pop_front();
    --remaining;
    const bool wake = reader_waits && ahead() <= capacity / 2;
    lock.unlock();
    if (wake) room.notify_one();
    return batch;
  }

  void recycle(Batch&& batch) {
    const std::lock_guard lock(mutex);
    if (static_cast<std::int64_t>(spare.size()) < capacity + 1) {
      spare.push_back(std::move(batch));
    }
  }

  const std::unique_ptr<ReadAhead> ahead_of_reader;
  const ReadSamples read;
  const std::string name;
  const LoaderPlan plan;
  const LoaderOptions options;
  MicroBatchRows rows_of;          ///< of the background thread
  std::vector<std::int64_t> rows;  ///< the same

  std::mutex mutex;
  std::condition_variable room, came;  ///< for the reader, for who calls next
  std::deque<Batch> queue;
  std::vector<Batch> spare;
  std::exception_ptr failure;
  std::int64_t remaining = 0;
  std::int64_t capacity = 0;  ///< batches in the queue
  bool stopping = false, reader_waits = false, trainer_waits = false;

  std::thread thread;
};

namespace {

/// As far ahead as bands are tall and windows are long: the samples of a coming band or window are
/// asked for together.
std::int64_t batches_ahead(const SampleSource& source, const LoaderPlan& plan,
                           const LoaderOptions& options) {
  constexpr std::int64_t kBands = 4;
  const auto window = plan.order.window_samples();
  // More than a part of a window would push bands out of the cache before they are read.
  if (window > 0) return options.depth + window / 2 / plan.micro_batch;
  return kSmallAheadBatches + kBands * source.info().chunk_rows / plan.micro_batch;
}

std::unique_ptr<ReadAhead> start_read_ahead(SampleSource& source, const LoaderPlan& plan,
                                            const LoaderOptions& options) {
  std::vector<BringSamples> bring;
  for (std::int64_t i = 0; i < options.decode_threads; ++i) {
    if (auto one = source.ahead()) bring.push_back(std::move(one));
  }
  if (bring.empty()) return nullptr;
  return std::make_unique<ReadAhead>(plan, std::move(bring), batches_ahead(source, plan, options));
}

}  // namespace

Loader::Loader(SampleSource& source, const LoaderPlan& plan, LoaderOptions options) {
  check(plan);
  LOCKSTEP_EXPECT(plan.samples <= source.info().samples,
                  "the loader's plan has more samples than " + base::quote(source.name()));
  state_ = std::make_unique<State>(
      [&source](std::span<const std::int64_t> rows, Batch& batch) {
        source.read(rows, batch, ReadFor::kTraining);
      },
      source.name(), plan, options, start_read_ahead(source, plan, options));
}

Loader::Loader(ReadSamples read, std::string name, const LoaderPlan& plan, LoaderOptions options)
    : state_(std::make_unique<State>(std::move(read), std::move(name), plan, options)) {}

Loader::~Loader() = default;

Batch Loader::next() { return state_->next(); }

std::int64_t Loader::remaining() const {
  const std::lock_guard lock(state_->mutex);
  return state_->remaining;
}

void Loader::recycle(Batch&& batch) { state_->recycle(std::move(batch)); }

}  // namespace lockstep::data
