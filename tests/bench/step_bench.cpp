// What a training step pays for its data, as one line of JSON: steps that take their micro-batches
// from the loader, beside the same steps on one global batch that stays in memory. One rank; part
// `data` of run_bench.py.

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "comm/serial_communicator.hpp"
#include "comm/topology.hpp"
#include "configs/reader.hpp"
#include "configs/writer.hpp"
#include "trainer/assembly.hpp"
#include "trainer/step_batches.hpp"

namespace lockstep::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

struct Blocks {
  std::int64_t rounds = 10;  ///< of four blocks: loader, resident, resident, loader
  std::int64_t steps = 10;   ///< of a block that are timed
  std::int64_t settle = 2;   ///< before them: the queue is full when a block begins

  std::int64_t loader_steps() const { return 2 * rounds * (settle + steps) + settle; }
};

/// A step's micro-batches, read once.
class ResidentBatches {
 public:
  ResidentBatches(data::SampleSource& source, const data::LoaderPlan& plan) : source_(source) {
    data::MicroBatchRows rows_of(plan);
    std::vector<std::int64_t> rows;
    for (auto index = plan.micro_begin; index < plan.micro_end; ++index) {
      rows_of(plan.first_step, index, rows);
      data::Batch batch;
      batch.micro_batch = index;
      source.read(rows, batch, data::ReadFor::kTraining);
      batches_.push_back(std::move(batch));
    }
  }

  trainer::MicroBatch next() {
    auto& batch = batches_[at_];
    at_ = (at_ + 1) % batches_.size();
    return trainer::tensors_of(batch, source_.info());
  }

 private:
  data::SampleSource& source_;
  std::vector<data::Batch> batches_;
  std::size_t at_ = 0;
};

class Contest {
 public:
  Contest(trainer::Assembly& made, const Blocks& blocks, const data::LoaderOptions& options)
      : step_(*made.step),
        blocks_(blocks),
        resident_(*made.train, made.loader),
        loader_(*made.train, made.loader, options) {
    step_.parameters().model().train();
    run(blocks_.settle, [&] { return loader_.next(); });
  }

  nlohmann::json run() {
    std::vector<double> with_loader, with_resident, waited;
    const auto loader_block = [&] {
      with_loader.push_back(block([&] { return loader_.next(); }));
      waited.push_back(std::chrono::duration<double>(waited_).count() /
                       static_cast<double>(blocks_.steps));
    };
    const auto resident_block = [&] {
      with_resident.push_back(block([&] { return resident_.next(); }));
    };
    for (std::int64_t round = 0; round < blocks_.rounds; ++round) {
      loader_block();
      resident_block();
      resident_block();
      loader_block();
    }
    return {{"loader", with_loader}, {"resident", with_resident}, {"waited", waited}};
  }

 private:
  /// Seconds of a step, by the wall clock over all of a block.
  double block(const std::function<trainer::MicroBatch()>& next) {
    run(blocks_.settle, next);
    loader_.take_waited();
    const auto begin = SteadyClock::now();
    run(blocks_.steps, next);
    const std::chrono::duration<double> seconds = SteadyClock::now() - begin;
    waited_ = loader_.take_waited();
    return seconds.count() / static_cast<double>(blocks_.steps);
  }

  void run(std::int64_t count, const std::function<trainer::MicroBatch()>& next) {
    for (std::int64_t i = 0; i < count; ++i) step_(number_++, next, {});
  }

  trainer::TrainStep& step_;
  Blocks blocks_;
  ResidentBatches resident_;
  trainer::StepBatches loader_;
  std::chrono::nanoseconds waited_{0};
  std::int64_t number_ = 0;
};

int run(int argc, char** argv) {
  CLI::App app("Times of a training step with the loader and with one resident batch, as JSON.");
  std::string path;
  Blocks blocks;
  app.add_option("CONFIG", path, "of a run; train.steps is set here")->required();
  app.add_option("--rounds", blocks.rounds, "of four blocks")->check(CLI::PositiveNumber);
  app.add_option("--steps", blocks.steps, "of a block")->check(CLI::PositiveNumber);
  app.add_option("--settle", blocks.settle, "steps before each block, not timed");
  CLI11_PARSE(app, argc, argv);

  auto config = configs::read_config(path, {{}, base::environment_variables()}).config;
  config.train.steps = blocks.loader_steps();
  comm::SerialCommunicator world;
  const auto topology = comm::discover_topology(world, comm::this_host(), 0);
  const auto node = world.split(topology.node, topology.local_rank, "node");
  auto made =
      trainer::assemble(config, configs::config_hash(config), "", {}, {world, *node, topology});
  Contest contest(made, blocks,
                  {.depth = config.data.queue_depth, .decode_threads = config.data.decode_threads});
  std::cout << contest.run() << "\n";
  return 0;
}

}  // namespace
}  // namespace lockstep::bench

int main(int argc, char** argv) {
  try {
    return lockstep::bench::run(argc, argv);
  } catch (const lockstep::base::Error& error) {
    std::cerr << "lockstep_step_bench: " << error.what() << "\n";
    return static_cast<int>(error.code());
  }
}
