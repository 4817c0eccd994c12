#include "trainer/train_step.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"
#include "comm/agreement.hpp"
#include "comm/micro_batch_plan.hpp"
#include "trainer/autograd_gradients.hpp"
#include "trainer/dense_gradients.hpp"
#include "trainer/dense_kernels.hpp"

namespace lockstep::trainer {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::int64_t kSignalDoubles = (sizeof(RankSignals) + sizeof(double) - 1) / sizeof(double);
constexpr std::int64_t kTileFloats = 4096;  // sum, norm and update meet in the cache

std::size_t pages(std::size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

FlatRange elements(const std::vector<FlatRange>& blocks, FlatRange share) {
  if (share.count() == 0) return {};
  return {blocks[static_cast<std::size_t>(share.begin)].begin,
          blocks[static_cast<std::size_t>(share.end) - 1].end};
}

}  // namespace

TrainStep::TrainStep(RankGroup group, std::shared_ptr<Model> model, Objective objective,
                     TrainStepOptions options)
    : group_(group),
      options_(std::move(options)),
      optimizer_(options_.optimizer),
      relay_(group.world, group.topology) {
  const auto& topology = group_.topology;
  const auto layout = layout_of(*model);
  const comm::MicroBatchPlan plan(options_.micro_batches, topology.world_size);
  range_ = plan.range_of(topology.rank);
  blocks_ = cut_blocks(layout);
  shares_ = share_blocks(blocks_, topology.world_size);

  std::vector<comm::LeafRange> micro_batches_of_rank, slice_of_rank;
  const auto double_range = [](std::int64_t begin, std::int64_t end) {
    return comm::ByteRange{static_cast<std::size_t>(begin) * sizeof(double),
                           static_cast<std::size_t>(end) * sizeof(double)};
  };
  for (int rank = 0; rank < topology.world_size; ++rank) {
    const auto range = plan.range_of(rank);
    const auto share = shares_[static_cast<std::size_t>(rank)];
    const auto slice = elements(blocks_, share);
    micro_batches_of_rank.push_back(range);
    slice_of_rank.push_back({slice.begin, slice.end});
    losses_of_rank_.push_back(double_range(range.begin, range.end));
    const auto signals = options_.micro_batches + rank * kSignalDoubles;
    signals_of_rank_.push_back(double_range(signals, signals + kSignalDoubles));
    squares_of_rank_.push_back(double_range(share.begin, share.end));
    flat_of_rank_.push_back({static_cast<std::size_t>(slice.begin) * sizeof(float),
                             static_cast<std::size_t>(slice.end) * sizeof(float)});
  }
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
  table_bytes_ =
      pages((static_cast<std::size_t>(options_.micro_batches) +
             static_cast<std::size_t>(topology.world_size * kSignalDoubles) + blocks_.size()) *
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
  if (options_.dense_kernels) {
    comm::require_agreement(group_.world, "vector instructions of the processor",
                            dense_kernels_available() ? "x86-64-v3" : "none");
    options_.dense_kernels = dense_kernels_available();
  }
  auto dense = options_.dense_kernels ? plan_dense(space_->model(), layout,
                                                   options_.micro_batches * options_.micro_batch)
                                      : std::nullopt;
  if (dense) {
    gradients_ = std::make_unique<DenseGradients>(
        group_, *space_, std::move(*dense), objective,
        DenseOptions{options_.micro_batch, micro_batches_of_rank, slice_of_rank});
  } else {
    gradients_ = std::make_unique<AutogradGradients>(
        group_, *space_, objective,
        AutogradOptions{.seed = options_.seed,
                        .dense_kernels = options_.dense_kernels,
                        .fold_in_turn = options_.reduction == Reduction::kFast,
                        .micro_batches_of_rank = micro_batches_of_rank,
                        .slice_of_rank = slice_of_rank});
  }
  if (options_.clip_norm > 0) {
    summed_.resize(static_cast<std::size_t>(elements(blocks_, own_blocks()).count()));
  }
  node_barrier("initial parameters");
}

StepResult TrainStep::operator()(std::int64_t step, const std::function<MicroBatch()>& next,
                                 const RankSignals& signals) {
  times_ = {};
  auto table = table_of(step);
  const double lr = lr_at(options_.schedule, step);

  gradients_->compute(step, next, table.losses, times_);
  *table.signals(group_.topology.rank) = signals;

  Laps laps;
  gradients_->exchange();
  relay_.spread(table.bytes, losses_of_rank_, "losses between nodes");
  relay_.spread(table.bytes, signals_of_rank_, "signals between nodes");
  laps.add_to(times_.exchange);

  update(step, lr, table);
  laps.add_to(times_.optimizer);
  const auto late = gradients_->take_backward_time();
  times_.backward += late;
  times_.optimizer -= late;

  const auto flat_count = static_cast<std::size_t>(space_->layout().flat_count());
  relay_.spread(std::as_writable_bytes(std::span(space_->memory().flat, flat_count)), flat_of_rank_,
                "parameters between nodes");
  if (options_.clip_norm == 0) {
    relay_.spread(table.square_bytes, squares_of_rank_, "gradient norms between nodes");
  }
  gradients_->finish();
  laps.add_to(times_.exchange);

  const auto count = static_cast<std::size_t>(options_.micro_batches);
  const double loss =
      comm::tree_sum(std::span<const double>(table.losses, count)) / static_cast<double>(count);
  RankSignals all;
  for (int rank = 0; rank < group_.topology.world_size; ++rank) {
    const auto& one = *table.signals(rank);
    all = {.stop_requests = std::max(all.stop_requests, one.stop_requests),
           .save_asked = std::max(all.save_asked, one.save_asked),
           .job = combined(all.job, one.job)};
  }
  return {.loss = loss, .gradient_norm = norm_of(table), .lr = lr, .signals = all};
}

void TrainStep::update(std::int64_t step, double lr, Table& table) {
  const double mean = 1.0 / static_cast<double>(gradients_->divisor());
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
      float* room = clip ? summed_.data() + (begin - slice.begin) : tile.data();
      const float* sum = gradients_->sum(part.begin, part.end, room);
      if (clip && sum != room) std::copy_n(sum, part.count(), room);
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
  const auto count = static_cast<std::size_t>(range.count());
  if (before_change_) before_change_(std::as_bytes(std::span(flat, count)));
  if (range.begin >= space_->layout().parameter_count) {
    // Buffers move by the mean of their changes; clipping is not for them.
    const auto mean = static_cast<float>(1.0 / static_cast<double>(options_.micro_batches));
    for (std::int64_t i = 0; i < range.count(); ++i) flat[i] += gradients[i] * mean;
    return;
  }
  std::array<float*, 2> states{};
  for (std::size_t i = 0; i < states_.size(); ++i) {
    states[i] = states_[i] + range.begin;
    if (before_change_) before_change_(std::as_bytes(std::span(states[i], count)));
  }
  optimizer_.update(step, lr, scale, flat, gradients, states.data(), range.count());
}

double TrainStep::norm_of(const Table& table) const {
  const double squares =
      comm::tree_sum(std::span<const double>(table.block_squares, blocks_.size()));
  return std::sqrt(squares) / static_cast<double>(gradients_->divisor());
}

TrainStep::Table TrainStep::table_of(std::int64_t step) {
  // Two tables in turn: a slow rank may still read the last step's while a fast one writes.
  std::byte* base = tables_ + static_cast<std::size_t>(step % 2) * table_bytes_;
  auto* doubles = reinterpret_cast<double*>(base);
  const auto micro_batches = static_cast<std::size_t>(options_.micro_batches);
  auto* signals = doubles + micro_batches;
  auto* squares = signals + static_cast<std::size_t>(group_.topology.world_size * kSignalDoubles);
  return {.losses = doubles,
          .signals_begin = signals,
          .block_squares = squares,
          .bytes = {base, table_bytes_},
          .square_bytes = std::as_writable_bytes(std::span(squares, blocks_.size()))};
}

RankSignals* TrainStep::Table::signals(int rank) const {
  return reinterpret_cast<RankSignals*>(signals_begin + rank * kSignalDoubles);
}

float* TrainStep::state_at(std::size_t name_index, std::int64_t element) {
  return states_.at(name_index) + element;
}

void TrainStep::node_barrier(std::string_view what) {
  gradients_->barrier().arrive_and_wait(group_.node.deadline(), what);
}

}  // namespace lockstep::trainer
