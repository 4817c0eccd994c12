// What Lockstep takes to read a dataset file, as one line of JSON: its side of run_bench.py's part
// `data`. Also the order of the samples for the peers, and the ceiling of them all (`gather`).

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/dataset_file.hpp"
#include "data/loader.hpp"
#include "data/private_memory.hpp"
#include "data/source.hpp"
#include "raw_gather.hpp"

namespace lockstep::bench {
namespace {

using Json = nlohmann::json;
using UseBatch = std::function<void(const data::Batch&)>;
using SteadyClock = std::chrono::steady_clock;

struct Reading {
  std::string file;
  std::string order = "exact";
  std::int64_t block = 64;
  std::int64_t window = 64;
  std::int64_t batch = 256;
  std::int64_t epochs = 1;  ///< that are timed, or written
  std::int64_t verify_epoch = 1;
  std::int64_t verified = 0;  ///< samples of `verify_epoch` that go into the checksum
  std::size_t cache_bytes = std::size_t{256} << 20;
  std::int64_t decode_threads = 0;
};

data::OrderOptions order_of(const Reading& reading) {
  data::OrderOptions order;
  if (reading.order == "sequential") order.shuffle = data::Shuffle::kOff;
  if (reading.order == "block") {
    order.kind = data::OrderKind::kBlock;
    order.block_samples = reading.block;
    order.window_blocks = reading.window;
  }
  return order;
}

/// Epochs [first, last) with one micro-batch a step.
data::LoaderPlan plan_of(const Reading& reading, std::int64_t samples, std::int64_t first,
                         std::int64_t last) {
  data::LoaderPlan plan;
  plan.samples = samples;
  plan.global_batch = plan.micro_batch = reading.batch;
  plan.seed = 1;
  plan.order = order_of(reading);
  plan.micro_end = 1;
  const auto steps = data::steps_per_epoch(samples, reading.batch);
  plan.first_step = first * steps;
  plan.last_step = last * steps;
  return plan;
}

/// The sample numbers of a plan, one step after the other.
std::vector<std::int64_t> samples_of(const data::LoaderPlan& plan) {
  std::vector<std::int64_t> samples;
  std::vector<std::int64_t> rows;
  data::MicroBatchRows rows_of(plan);
  for (auto step = plan.first_step; step < plan.last_step; ++step) {
    rows_of(step, 0, rows);
    samples.insert(samples.end(), rows.begin(), rows.end());
  }
  return samples;
}

double seconds_since(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

/// Wall time of each epoch, from construction on.
class EpochTimes {
 public:
  explicit EpochTimes(std::int64_t steps_per_epoch) : steps_per_epoch_(steps_per_epoch) {}

  void operator()(const data::Batch& batch) {
    if ((batch.step + 1) % steps_per_epoch_ != 0) return;
    seconds_.push_back(seconds_since(begin_));
    begin_ = SteadyClock::now();
  }
  const std::vector<double>& seconds() const { return seconds_; }

 private:
  std::int64_t steps_per_epoch_;
  std::vector<double> seconds_;
  SteadyClock::time_point begin_ = SteadyClock::now();
};

/// Of all bits of an epoch's samples and of their order; peers/h5py_read.py computes the same.
class Checksum {
 public:
  void operator()(const data::Batch& batch) {
    const auto samples = static_cast<std::size_t>(batch.samples);
    for (std::size_t i = 0; i < samples; ++i) {
      auto row = bits_of(batch.inputs, i, samples) + bits_of(batch.values, i, samples);
      if (!batch.classes.empty()) row += static_cast<std::uint64_t>(batch.classes[i]);
      sum_ += ++position_ * row;
    }
  }
  std::uint64_t sum() const { return sum_; }

 private:
  /// The sum of the bits of the `i`th of `samples` rows.
  static std::uint64_t bits_of(std::span<const float> rows, std::size_t i, std::size_t samples) {
    const auto elements = rows.size() / samples;
    std::uint64_t sum = 0;
    for (const auto value : rows.subspan(i * elements, elements)) {
      sum += std::bit_cast<std::uint32_t>(value);
    }
    return sum;
  }

  std::uint64_t sum_ = 0;
  std::uint64_t position_ = 0;
};

/// Goes through a plan and hands each batch to `use`.
using ReadPlan = std::function<void(const data::LoaderPlan& plan, const UseBatch& use)>;

/// Times the epochs, then reads the samples that are verified.
Json measured(const Reading& reading, std::int64_t samples, const ReadPlan& read) {
  const auto steps = data::steps_per_epoch(samples, reading.batch);
  EpochTimes times(steps);
  std::int64_t bytes = 0;
  read(plan_of(reading, samples, 0, reading.epochs), [&](const data::Batch& batch) {
    bytes += static_cast<std::int64_t>(batch.inputs.size() * sizeof(float));
    times(batch);
  });
  auto plan = plan_of(reading, samples, reading.verify_epoch, reading.verify_epoch + 1);
  plan.last_step = plan.first_step + std::min(steps, reading.verified / reading.batch);
  Checksum checksum;
  read(plan, std::ref(checksum));
  return {{"samples", steps * reading.batch},
          {"bytes", bytes / reading.epochs},
          {"seconds", times.seconds()},
          {"checksum", checksum.sum()}};
}

void through_loader(data::SampleSource& source, const data::LoaderPlan& plan,
                    std::int64_t decode_threads, const UseBatch& use) {
  data::Loader loader(source, plan, {.decode_threads = decode_threads});
  data::Batch batch;
  for (auto step = plan.first_step; step < plan.last_step; ++step) {
    if (batch.samples > 0) loader.recycle(std::move(batch));
    batch = loader.next();
    use(batch);
  }
}

void by_one_thread(data::SampleSource& source, const data::LoaderPlan& plan,
                   std::int64_t /*decode_threads*/, const UseBatch& use) {
  data::MicroBatchRows rows_of(plan);
  std::vector<std::int64_t> rows;
  data::Batch batch;
  for (batch.step = plan.first_step; batch.step < plan.last_step; ++batch.step) {
    rows_of(batch.step, 0, rows);
    batch.epoch = batch.step / data::steps_per_epoch(plan.samples, plan.global_batch);
    source.read(rows, batch, data::ReadFor::kTraining);
    use(batch);
  }
}

/// A dataset file opened as training opens it, with the cache for its order of samples.
struct OpenSource {
  explicit OpenSource(const Reading& reading)
      : source({.paths = {reading.file}, .fingerprinting = data::Fingerprinting::kNone}),
        cache(source.plan_cache(reading.cache_bytes, order_of(reading).window_samples())) {
    source.share_cache(cache.bytes());
  }

  data::SampleSource source;
  data::detail::PrivateMemory cache;
};

Json run_reading(const Reading& reading,
                 void (*go_through)(data::SampleSource&, const data::LoaderPlan&, std::int64_t,
                                    const UseBatch&)) {
  OpenSource open(reading);
  return measured(reading, open.source.info().samples,
                  [&](const data::LoaderPlan& plan, const UseBatch& use) {
                    go_through(open.source, plan, reading.decode_threads, use);
                  });
}

/// Sets the distance of prefetching that is fastest here. Some trials of each, in turn: one alone
/// says little on a busy machine.
void tune(RawGather& gather, std::span<const std::int64_t> samples, std::size_t batch,
          data::Batch& out) {
  constexpr std::array<std::size_t, 10> kAhead{0, 1, 2, 3, 4, 6, 8, 12, 16, 32};
  std::array<double, kAhead.size()> best{};
  for (int trial = 0; trial < 4; ++trial) {
    for (std::size_t i = 0; i < kAhead.size(); ++i) {
      gather.set_ahead(kAhead[i]);
      const auto begin = SteadyClock::now();
      for (std::size_t at = 0; at + batch <= samples.size(); at += batch) {
        gather(samples, at, batch, out.inputs.data(), out.classes.data());
      }
      const auto seconds = seconds_since(begin);
      if (trial == 0 || seconds < best[i]) best[i] = seconds;
    }
  }
  const auto fastest = std::min_element(best.begin(), best.end()) - best.begin();
  gather.set_ahead(kAhead[static_cast<std::size_t>(fastest)]);
}

Json run_gather(const Reading& reading, RawRows rows) {
  std::int64_t samples = 0;
  {
    const data::DatasetFile file(reading.file);
    const auto& column = file.column("x");
    samples = column.rows();
    rows.path = reading.file;
    rows.elements = static_cast<std::size_t>(column.row_elements());
    rows.bytes = column.dtype == data::DType::kU8;
  }
  RawGather gather(rows);
  const auto count = static_cast<std::size_t>(reading.batch);
  data::Batch batch;
  batch.samples = reading.batch;
  batch.inputs.resize(count * rows.elements);
  batch.classes.resize(count);
  // The order is known before the clock starts.
  const auto epochs = std::max(reading.epochs, reading.verify_epoch + 1);
  const auto order = samples_of(plan_of(reading, samples, 0, epochs));
  const auto epoch = order.size() / static_cast<std::size_t>(epochs);
  tune(gather, std::span(order).first(std::max(count, epoch / 4)), count, batch);
  return measured(reading, samples, [&](const data::LoaderPlan& plan, const UseBatch& use) {
    for (batch.step = plan.first_step; batch.step < plan.last_step; ++batch.step) {
      gather(order, static_cast<std::size_t>(batch.step) * count, count, batch.inputs.data(),
             batch.classes.data());
      use(batch);
    }
  });
}

/// Writes the sample numbers of the epochs, i64.
Json run_order(const Reading& reading, const std::string& output) {
  const auto samples = data::DatasetFile(reading.file).column("x").rows();
  const auto order = samples_of(plan_of(reading, samples, 0, reading.epochs));
  std::ofstream file(output, std::ios::binary);
  file.write(reinterpret_cast<const char*>(order.data()),
             static_cast<std::streamsize>(order.size() * sizeof(order[0])));
  file.close();
  if (!file) {
    throw base::IoError("output " + base::quote(output) + " cannot be written; name another file",
                        errno);
  }
  return {{"samples", order.size()}};
}

/// From the name of the file to its first row.
Json run_index(const std::string& path, const std::string& cache_directory) {
  std::vector<std::byte> row;
  const auto begin = SteadyClock::now();
  data::DatasetFile file(path, {.cache_directory = cache_directory});
  const auto& column = file.column("x");
  row.resize(column.row_bytes());
  file.read_rows("x", 0, 1, row);
  const auto seconds = seconds_since(begin);
  std::int64_t chunks = 1;
  for (std::size_t axis = 0; axis < column.chunk.size(); ++axis) {
    chunks *= (column.shape[axis] + column.chunk[axis] - 1) / column.chunk[axis];
  }
  return {{"seconds", seconds}, {"chunks", chunks}};
}

/// Memory of this process that is no file's.
std::int64_t private_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    std::istringstream words(line);
    std::string name;
    std::int64_t kibibytes = 0;
    if (words >> name >> kibibytes && name == "RssAnon:") return kibibytes * 1024;
  }
  throw base::EnvironmentError("this kernel does not tell RssAnon; measure on Linux 4.5 or newer");
}

/// Peak growth while an epoch is read, and what the cache and the loader's batches may take of it.
Json run_memory(const Reading& reading) {
  const auto before = private_bytes();
  auto most = before;
  OpenSource open(reading);
  const auto opened = private_bytes();
  std::int64_t batch_bytes = 0;
  const auto plan = plan_of(reading, open.source.info().samples, 0, reading.epochs);
  through_loader(open.source, plan, reading.decode_threads, [&](const data::Batch& batch) {
    most = std::max(most, private_bytes());
    batch_bytes = static_cast<std::int64_t>(batch.inputs.size() * sizeof(float) +
                                            batch.classes.size() * sizeof(std::int64_t));
  });
  // As data/loader.hpp promises.
  constexpr std::int64_t kSmall = std::int64_t{1} << 20;
  const auto depth = data::LoaderOptions{}.depth;
  const auto batches = std::max(depth, std::min<std::int64_t>(64, kSmall / batch_bytes)) + 2;
  return {{"growth", most - before},
          {"opened", opened - before},
          {"cache", open.cache.bytes().size()},
          {"batches", batches * batch_bytes}};
}

int run(int argc, char** argv) {
  CLI::App app("What Lockstep takes to read a dataset file, as one line of JSON.");
  app.require_subcommand(1);
  Reading reading;
  RawRows raw;
  std::string output;
  std::string cache_directory;
  std::map<const CLI::App*, std::function<Json()>> modes;
  const auto add = [&](const char* name, const char* what, std::function<Json()> mode) {
    auto* command = app.add_subcommand(name, what);
    command->add_option("FILE", reading.file, "with x and y")->required();
    modes[command] = std::move(mode);
    return command;
  };
  const auto add_reading = [&](const char* name, const char* what, std::function<Json()> mode) {
    auto* command = add(name, what, std::move(mode));
    command->add_option("--order", reading.order, "exact, block or sequential")
        ->check(CLI::IsMember({"exact", "block", "sequential"}));
    command->add_option("--block", reading.block, "samples of a block");
    command->add_option("--window", reading.window, "blocks that are shuffled together");
    command->add_option("--batch", reading.batch, "samples");
    command->add_option("--epochs", reading.epochs, "that are timed, or written")
        ->check(CLI::PositiveNumber);
    command->add_option("--verify-epoch", reading.verify_epoch, "not timed, but checked");
    command->add_option("--verify", reading.verified, "samples of it that go into the checksum");
    command->add_option("--decode-threads", reading.decode_threads, "beside the reader");
    command->add_option("--cache", reading.cache_bytes, "bytes of decoded rows to keep");
    return command;
  };
  add_reading("train", "through the loader", [&] { return run_reading(reading, through_loader); });
  add_reading("source", "by one thread", [&] { return run_reading(reading, by_one_thread); });
  auto* gather = add_reading("gather", "by hand: the ceiling of contiguous files",
                             [&] { return run_gather(reading, raw); });
  gather->add_option("--inputs-offset", raw.inputs_offset, "bytes before x")->required();
  gather->add_option("--targets-offset", raw.targets_offset, "bytes before y, i64")->required();
  add_reading("memory", "how much of it is used", [&] { return run_memory(reading); });
  add_reading("order", "writes sample numbers, i64", [&] { return run_order(reading, output); })
      ->add_option("--output", output, "file")
      ->required();
  add("index", "opening the file, to the first row", [&] {
    return run_index(reading.file, cache_directory);
  })->add_option("--cache-directory", cache_directory, "where chunk indexes are kept");
  CLI11_PARSE(app, argc, argv);
  std::cout << modes.at(app.get_subcommands().front())() << "\n";
  return 0;
}

}  // namespace
}  // namespace lockstep::bench

int main(int argc, char** argv) {
  try {
    return lockstep::bench::run(argc, argv);
  } catch (const lockstep::base::Error& error) {
    std::cerr << "lockstep_data_bench: " << error.what() << "\n";
    return static_cast<int>(error.code());
  }
}
