#include "trainer/train_step.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <mutex>

#include "base/error.hpp"
#include "base/philox.hpp"
#include "comm/micro_batch_plan.hpp"

namespace lockstep::trainer {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::size_t kPage = 4096;
constexpr std::int64_t kTileFloats = 4096;  // sum, norm and update meet in the cache

std::size_t pages(std::size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

/// Adds the time since the last lap to one of the counters.
class Laps {
 public:
  void add_to(std::chrono::nanoseconds& counter) {
    const auto now = SteadyClock::now();
    counter += now - last_;
    last_ = now;
  }

 private:
  SteadyClock::time_point last_ = SteadyClock::now();
};

FlatRange elements(const std::vector<FlatRange>& blocks, FlatRange share) {
  if (share.count() == 0) return {};
  return {blocks[static_cast<std::size_t>(share.begin)].begin,
          blocks[static_cast<std::size_t>(share.end) - 1].end};
}

/// Sums that are held at once, besides the first, while these subtrees are folded leaf by leaf:
/// leaf j finds as many finished sums as j has ones, and an odd one joins its neighbour.
std::size_t levels_above_first(const std::vector<comm::LeafRange>& subtrees) {
  int levels = 0;
  for (const auto& subtree : subtrees) {
    for (std::int64_t j = 0; j < subtree.size(); j += 2) {
      levels = std::max(levels, std::popcount(static_cast<std::uint64_t>(j)));
    }
  }
  return static_cast<std::size_t>(levels);
}

void add_into(float* __restrict sum, const float* __restrict values, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) sum[i] += values[i];
}

}  // namespace

TrainStep::TrainStep(RankGroup group, std::shared_ptr<Model> model, Objective objective,
                     TrainStepOptions options)
    : group_(group),
      options_(std::move(options)),
      objective_(objective),
      optimizer_(options_.optimizer),
      relay_(group.world, group.topology),
      generator_(at::detail::createCPUGenerator()) {
  const auto& topology = group_.topology;
  const auto layout = layout_of(*model);
  const comm::MicroBatchPlan plan(options_.micro_batches, topology.world_size);
  range_ = plan.range_of(topology.rank);
  blocks_ = cut_blocks(layout);
  shares_ = share_blocks(blocks_, topology.world_size);

  comm::GradientExchangeOptions exchange;
  exchange.floats = layout.flat_count();
  const bool fast = options_.reduction == Reduction::kFast;
  exchange.leaves = fast ? topology.world_size : options_.micro_batches;
  const auto double_range = [](std::int64_t begin, std::int64_t end) {
    return comm::ByteRange{static_cast<std::size_t>(begin) * sizeof(double),
                           static_cast<std::size_t>(end) * sizeof(double)};
  };
  for (int rank = 0; rank < topology.world_size; ++rank) {
    const auto range = plan.range_of(rank);
    const auto share = shares_[static_cast<std::size_t>(rank)];
    const auto slice = elements(blocks_, share);
    exchange.leaves_of_rank.push_back(fast ? comm::LeafRange{rank, rank + 1} : range);
    exchange.slice_of_rank.push_back({slice.begin, slice.end});
    losses_of_rank_.push_back(double_range(range.begin, range.end));
    stops_of_rank_.push_back(
        double_range(options_.micro_batches + rank, options_.micro_batches + rank + 1));
    squares_of_rank_.push_back(double_range(share.begin, share.end));
    flat_of_rank_.push_back({static_cast<std::size_t>(slice.begin) * sizeof(float),
                             static_cast<std::size_t>(slice.end) * sizeof(float)});
  }
  exchange_ = std::make_unique<comm::GradientExchange>(group_.world, group_.node, topology,
                                                       std::move(exchange));
  fold_buffers_.resize(fast ? 0 : levels_above_first(exchange_->subtrees()));
  for (auto& buffer : fold_buffers_) buffer.resize(static_cast<std::size_t>(layout.flat_count()));

  // Optimizer state exists once in the group: on this node, only what its ranks own.
  const auto first = topology.first_rank_of_node[static_cast<std::size_t>(topology.node)];
  const auto last = topology.first_rank_of_node[static_cast<std::size_t>(topology.node) + 1] - 1;
  FlatRange held = elements(blocks_, {shares_[static_cast<std::size_t>(first)].begin,
                                      shares_[static_cast<std::size_t>(last)].end});
  held.end = std::max(held.begin, std::min(held.end, layout.parameter_count));
  const auto names = state_names(options_.optimizer);
  const std::size_t flat_bytes =
      pages(static_cast<std::size_t>(layout.flat_count()) * sizeof(float));
  const std::size_t constant_bytes =
      pages(static_cast<std::size_t>(layout.constant_count) * sizeof(float));
  const std::size_t state_bytes = pages(static_cast<std::size_t>(held.count()) * sizeof(float));
  table_bytes_ = pages((static_cast<std::size_t>(options_.micro_batches) +
                        static_cast<std::size_t>(topology.world_size) + blocks_.size()) *
                       sizeof(double));
  memory_ = std::make_unique<comm::NodeMemory>(
      group_.node, flat_bytes + constant_bytes + names.size() * state_bytes + 2 * table_bytes_,
      "model state");
  std::byte* place = memory_->bytes().data();
  const StateMemory state{reinterpret_cast<float*>(place),
                          reinterpret_cast<float*>(place + flat_bytes)};
  place += flat_bytes + constant_bytes;
  for (std::size_t i = 0; i < names.size(); ++i) {
    states_.push_back(reinterpret_cast<float*>(place) - held.begin);
    place += state_bytes;
  }
  tables_ = place;

  space_ = std::make_unique<ParameterSpace>(
      std::move(model), layout, state,
      topology.local_rank == 0 ? InitialValues::kCopyFromModel : InitialValues::kKeepMemory);
  if (options_.clip_norm > 0) {
    summed_.resize(static_cast<std::size_t>(elements(blocks_, own_blocks()).count()));
  }
  node_barrier("initial parameters");
}

StepResult TrainStep::operator()(std::int64_t step, const std::function<MicroBatch()>& next,
                                 int stop_requests) {
  times_ = {};
  auto table = table_of(step);
  const double lr = lr_at(options_.schedule, step);

  compute_gradients(step, next, table);
  table.stop_requests[group_.topology.rank] = stop_requests;

  Laps laps;
  exchange_->exchange();
  relay_.spread(table.bytes, losses_of_rank_, "losses between nodes");
  relay_.spread(table.bytes, stops_of_rank_, "stop requests between nodes");
  laps.add_to(times_.exchange);

  update(step, lr, table);
  laps.add_to(times_.optimizer);

  const auto flat_count = static_cast<std::size_t>(space_->layout().flat_count());
  relay_.spread(std::as_writable_bytes(std::span(space_->memory().flat, flat_count)), flat_of_rank_,
                "parameters between nodes");
  if (options_.clip_norm == 0) {
    relay_.spread(table.square_bytes, squares_of_rank_, "gradient norms between nodes");
  }
  exchange_->finish();
  laps.add_to(times_.exchange);

  const auto count = static_cast<std::size_t>(options_.micro_batches);
  const double loss =
      comm::tree_sum(std::span<const double>(table.losses, count)) / static_cast<double>(count);
  const auto stops =
      std::max_element(table.stop_requests, table.stop_requests + group_.topology.world_size);
  return {.loss = loss,
          .gradient_norm = norm_of(table),
          .lr = lr,
          .stop_requests = static_cast<int>(*stops)};
}

void TrainStep::compute_gradients(std::int64_t step, const std::function<MicroBatch()>& next,
                                  Table& table) {
  if (options_.reduction == Reduction::kFast) {
    for (auto i = range_.begin; i < range_.end; ++i) {
      run_micro_batch(step, next(), exchange_->partial(0),
                      i == range_.begin ? Contribution::kStore : Contribution::kAdd, table);
    }
    space_->commit_counters();
    return;
  }
  const auto floats = space_->layout().flat_count();
  for (std::size_t s = 0; s < exchange_->subtrees().size(); ++s) {
    // A binary counter: level k of the stack holds the sum of a finished subtree; after leaf j,
    // as many neighbours are complete as j has trailing ones.
    const auto level = [&](int depth) {
      return depth == 0 ? exchange_->partial(s)
                        : fold_buffers_[static_cast<std::size_t>(depth) - 1].data();
    };
    const auto leaves = exchange_->subtrees()[s].size();
    int depth = 0;  // finished sums below the one being written
    for (std::int64_t j = 0; j < leaves; ++j) {
      const bool odd = j % 2 == 1;
      if (odd) --depth;  // the right neighbour is added to the left one as it arrives
      run_micro_batch(step, next(), level(depth), odd ? Contribution::kAdd : Contribution::kStore,
                      table);
      ++depth;
      const int complete = std::countr_one(static_cast<std::uint64_t>(j));
      int merges = std::max(0, complete - 1);
      if (j + 1 == leaves) merges = depth - 1;
      Laps laps;
      for (; merges > 0; --merges) {
        --depth;
        add_into(level(depth - 1), level(depth), floats);
      }
      laps.add_to(times_.exchange);
    }
  }
  space_->commit_counters();
}

void TrainStep::run_micro_batch(std::int64_t step, const MicroBatch& batch, float* target,
                                Contribution contribution, Table& table) {
  Laps laps;
  const auto seed =
      base::keyed_random(options_.seed, base::RandomPurpose::kMicroBatch,
                         static_cast<std::uint64_t>(step), static_cast<std::uint64_t>(batch.index));
  generator_.set_current_seed(seed);
  auto default_generator = at::detail::getDefaultCPUGenerator();
  {
    const std::lock_guard lock(default_generator.mutex());
    default_generator.set_current_seed(seed);
  }
  space_->begin_micro_batch(target, contribution);
  const auto outputs = space_->model().forward(batch.inputs, {Phase::kTraining, generator_});
  const auto loss = objective_.loss(outputs, batch.targets);
  laps.add_to(times_.forward);
  loss.backward();
  space_->end_micro_batch();
  table.losses[batch.index] = loss.item<float>();
  laps.add_to(times_.backward);
}

void TrainStep::update(std::int64_t step, double lr, Table& table) {
  const double mean = 1.0 / static_cast<double>(options_.micro_batches);
  const auto own = own_blocks();
  const auto slice = elements(blocks_, own);
  const auto parameter_count = space_->layout().parameter_count;
  const bool clip = options_.clip_norm > 0;
  std::array<float, kTileFloats> tile;
  for (auto block = own.begin; block < own.end; ++block) {
    const auto range = blocks_[static_cast<std::size_t>(block)];
    double squares = 0;
    for (auto begin = range.begin; begin < range.end; begin += kTileFloats) {
      const FlatRange part{begin, std::min(begin + kTileFloats, range.end)};
      float* sum = clip ? summed_.data() + (begin - slice.begin) : tile.data();
      exchange_->fold(part.begin, part.end, sum);
      if (range.begin < parameter_count) squares += sum_of_squares(sum, part.count());
      if (!clip) update_range(step, lr, static_cast<float>(mean), part, sum);
    }
    table.block_squares[block] = squares;
  }
  if (!clip) return;
  relay_.spread(table.square_bytes, squares_of_rank_, "gradient norms between nodes");
  node_barrier("the gradient norm of all ranks");
  const double norm = norm_of(table);
  // As torch.nn.utils.clip_grad_norm_: the coefficient is at most one.
  const double coefficient = std::min(1.0, options_.clip_norm / (norm + 1e-6));
  for (auto block = own.begin; block < own.end; ++block) {
    const auto range = blocks_[static_cast<std::size_t>(block)];
    update_range(step, lr, static_cast<float>(mean * coefficient), range,
                 summed_.data() + (range.begin - slice.begin));
  }
}

void TrainStep::update_range(std::int64_t step, double lr, float scale, FlatRange range,
                             const float* gradients) {
  float* flat = space_->memory().flat + range.begin;
  if (range.begin >= space_->layout().parameter_count) {
    // Buffers move by the mean of their changes; clipping is not for them.
    const auto mean = static_cast<float>(1.0 / static_cast<double>(options_.micro_batches));
    for (std::int64_t i = 0; i < range.count(); ++i) flat[i] += gradients[i] * mean;
    return;
  }
  std::array<float*, 2> states{};
  for (std::size_t i = 0; i < states_.size(); ++i) states[i] = states_[i] + range.begin;
  optimizer_.update(step, lr, scale, flat, gradients, states.data(), range.count());
}

double TrainStep::norm_of(const Table& table) const {
  const double squares =
      comm::tree_sum(std::span<const double>(table.block_squares, blocks_.size()));
  return std::sqrt(squares) / static_cast<double>(options_.micro_batches);
}

TrainStep::Table TrainStep::table_of(std::int64_t step) {
  // Two tables in turn: a slow rank may still read the last step's while a fast one writes.
  std::byte* base = tables_ + static_cast<std::size_t>(step % 2) * table_bytes_;
  auto* doubles = reinterpret_cast<double*>(base);
  const auto micro_batches = static_cast<std::size_t>(options_.micro_batches);
  auto* squares = doubles + micro_batches + static_cast<std::size_t>(group_.topology.world_size);
  return {.losses = doubles,
          .stop_requests = doubles + micro_batches,
          .block_squares = squares,
          .bytes = {base, table_bytes_},
          .square_bytes = std::as_writable_bytes(std::span(squares, blocks_.size()))};
}

float* TrainStep::state_at(std::size_t name_index, std::int64_t element) {
  return states_.at(name_index) + element;
}

void TrainStep::node_barrier(std::string_view what) {
  exchange_->barrier().arrive_and_wait(group_.node.deadline(), what);
}

}  // namespace lockstep::trainer
