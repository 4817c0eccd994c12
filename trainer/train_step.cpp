#include "trainer/train_step.hpp"

#include <ATen/record_function.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.hpp"
#include "base/hash.hpp"
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

std::vector<comm::LeafRange> ranges_of(const comm::MicroBatchPlan& plan, int ranks) {
  std::vector<comm::LeafRange> ranges;
  for (int rank = 0; rank < ranks; ++rank) ranges.push_back(plan.range_of(rank));
  return ranges;
}

ShortType short_type_of(Precision precision) {
  switch (precision) {
    case Precision::kFloat32: return ShortType::kNone;
    case Precision::kBFloat16: return ShortType::kBFloat16;
    case Precision::kFloat16: return ShortType::kFloat16;
  }
  return ShortType::kNone;
}

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

  const auto double_range = [](std::int64_t begin, std::int64_t end) {
    return comm::ByteRange{static_cast<std::size_t>(begin) * sizeof(double),
                           static_cast<std::size_t>(end) * sizeof(double)};
  };
  for (int rank = 0; rank < topology.world_size; ++rank) {
    const auto range = plan.range_of(rank);
    const auto share = shares_[static_cast<std::size_t>(rank)];
    const auto slice = elements(blocks_, share);
    losses_of_rank_.push_back(double_range(range.begin, range.end));
    const auto signals =
        static_cast<std::int64_t>(fixed_table_bytes() / sizeof(double)) + rank * kSignalDoubles;
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
  // Devices share out the blocks of each bucket of gradients instead.
  if (options_.device != nullptr) held = {0, layout.parameter_count};
  const auto names = state_names(options_.optimizer);
  const std::size_t flat_bytes =
      pages(static_cast<std::size_t>(layout.flat_count()) * sizeof(float));
  const std::size_t constant_bytes =
      pages(static_cast<std::size_t>(layout.constant_count) * sizeof(float));
  const std::size_t state_bytes = pages(static_cast<std::size_t>(held.count()) * sizeof(float));
  table_bytes_ =
      fixed_table_bytes() +
      pages(static_cast<std::size_t>(topology.world_size * kSignalDoubles) * sizeof(double));
  const auto kept_shape = kept_shape_of(layout, {first, last}, names.size());
  const auto plain_bytes =
      flat_bytes + constant_bytes + names.size() * state_bytes + 2 * table_bytes_;
  std::size_t kept_bytes = KeptState::bytes_needed(kept_shape);
  if (!options_.kept_memory.empty()) choose_kept_memory(kept_bytes + plain_bytes);
  const bool keeps_here = options_.keep_last_step && options_.device == nullptr;
  if (!keeps_here) kept_bytes = 0;
  memory_ = std::make_unique<comm::NodeMemory>(group_.node, kept_bytes + plain_bytes, "model state",
                                               options_.kept_memory);
  std::byte* place = memory_->bytes().data() + kept_bytes;
  memory_of_state_ = {.flat = reinterpret_cast<float*>(place),
                      .constants = reinterpret_cast<float*>(place + flat_bytes)};
  const auto& state = memory_of_state_;
  place += flat_bytes + constant_bytes;
  for (std::size_t i = 0; i < names.size(); ++i) {
    states_.push_back(reinterpret_cast<float*>(place) - held.begin);
    place += state_bytes;
  }
  tables_ = place;
  if (keeps_here) {
    kept_ = std::make_unique<KeptState>(kept_shape, LiveState{state.flat, states_},
                                        memory_->bytes().first(kept_bytes));
    recovered_ = recover(state.flat);
    if (recovered_ && options_.goes_on_from && !options_.goes_on_from(*recovered_)) {
      recovered_.reset();
    }
    if (!recovered_ && memory_->survived()) clear_states(layout.parameter_count);
  }

  if (options_.device != nullptr) {
    make_device(layout,
                {.flat = state.flat,
                 .constants = state.constants,
                 .states = states_,
                 .bytes = memory_->bytes().subspan(kept_bytes)},
                plan);
  }
  // Each device has a copy of its own; a node has one for all of its ranks.
  const bool first_of_memory = device_ || topology.local_rank == 0;
  space_ = std::make_unique<ParameterSpace>(
      std::move(model), layout, device_ ? device_->memory() : state,
      first_of_memory && !recovered_ ? InitialValues::kCopyFromModel : InitialValues::kKeepMemory,
      options_.precision);
  if (recovered_) space_->counters() = kept_->counters(*recovered_).value();
  if (device_) device_->share_initial();
  make_gradients(objective, plan);
  if (options_.clip_norm > 0 && !device_) {
    summed_.resize(static_cast<std::size_t>(elements(blocks_, own_blocks()).count()));
  }
  node_barrier("initial parameters");
}

void TrainStep::choose_kept_memory(std::size_t bytes) {
  // Gradients, activations and decoded samples will want a place beside it, of all nodes that
  // pretend to be one on this host.
  const auto& hosts = group_.topology.host_of_rank;
  const auto& firsts = group_.topology.first_rank_of_node;
  const auto& mine = hosts[static_cast<std::size_t>(group_.topology.rank)];
  std::size_t nodes_here = 0;
  for (int node = 0; node < group_.topology.node_count; ++node) {
    if (hosts[static_cast<std::size_t>(firsts[static_cast<std::size_t>(node)])] == mine)
      ++nodes_here;
  }
  constexpr std::size_t kForOthers = 2;
  std::int64_t room =
      comm::NodeMemory::has_room_in(options_.kept_memory, kForOthers * nodes_here * bytes) ? 1 : 0;
  group_.world.all_reduce(std::span(&room, 1), comm::ReduceOp::kMin, "room to keep a state");
  if (room == 1) {
    options_.keep_last_step = true;
  } else {
    options_.kept_memory.clear();
  }
}

void TrainStep::make_device(const ParameterLayout& layout, StateImage image,
                            const comm::MicroBatchPlan& plan) {
  LOCKSTEP_EXPECT(options_.kept_memory.empty(), "memory of a device that outlives the ranks");
  if (options_.precision == Precision::kFloat16) {
    loss_scale_.factor = std::exp2(std::floor(std::log2(options_.loss_scale.initial)));
  }
  DeviceStateOptions options{
      .invariant = options_.reduction == Reduction::kInvariant,
      .micro_batches = options_.micro_batches,
      .micro_batches_of_rank = ranges_of(plan, group_.topology.world_size),
      .shorts = short_type_of(options_.precision),
      .can_take_back = options_.keep_last_step,
      .captures_graphs = options_.captures_graphs && options_.device->graphs != nullptr};
  device_ = std::make_unique<DeviceState>(group_, *options_.device, layout, blocks_,
                                          std::move(image), std::move(options));
}

void TrainStep::make_gradients(const Objective& objective, const comm::MicroBatchPlan& plan) {
  const auto& layout = space_->layout();
  const bool fast = options_.reduction == Reduction::kFast;
  if (device_) options_.dense_kernels = false;
  if (options_.dense_kernels) {
    comm::require_agreement(group_.world, "vector instructions of the processor",
                            dense_kernels_available() ? "x86-64-v3" : "none");
    options_.dense_kernels = dense_kernels_available();
  }
  const AutogradOptions autograd{.seed = options_.seed,
                                 .dense_kernels = options_.dense_kernels,
                                 .recompute = options_.recompute,
                                 .fold_in_turn = fast,
                                 .range = range_,
                                 .micro_batches = options_.micro_batches,
                                 .device = options_.device,
                                 .captures_graphs = options_.captures_graphs};
  if (device_) {
    auto inputs = std::make_unique<DeviceInputs>(*options_.device, *device_);
    gradients_ = std::make_unique<AutogradGradients>(
        *space_, objective, device_->sums(memory_->barrier()), autograd, std::move(inputs));
    return;
  }
  const auto micro_batches_of_rank = ranges_of(plan, group_.topology.world_size);
  std::vector<comm::LeafRange> slice_of_rank;
  for (const auto& share : shares_) {
    const auto slice = elements(blocks_, share);
    slice_of_rank.push_back({slice.begin, slice.end});
  }
  auto dense =
      options_.dense_kernels && !options_.autograd_alone
          ? plan_dense(space_->model(), layout, options_.micro_batches * options_.micro_batch)
          : std::nullopt;
  if (dense) {
    gradients_ = std::make_unique<DenseGradients>(
        group_, *space_, std::move(*dense), objective,
        DenseOptions{options_.micro_batch, micro_batches_of_rank, slice_of_rank});
    return;
  }
  comm::GradientExchangeOptions exchange{.floats = layout.flat_count(),
                                         .leaves = options_.micro_batches,
                                         .leaves_of_rank = micro_batches_of_rank,
                                         .slice_of_rank = slice_of_rank};
  if (fast) {
    exchange.leaves = group_.topology.world_size;
    for (std::int64_t rank = 0; rank < exchange.leaves; ++rank) {
      exchange.leaves_of_rank[static_cast<std::size_t>(rank)] = {rank, rank + 1};
    }
  }
  gradients_ = std::make_unique<AutogradGradients>(
      *space_, objective, std::make_unique<NodeSums>(group_, std::move(exchange)), autograd);
}

StepResult TrainStep::operator()(std::int64_t step, const std::function<MicroBatch()>& next,
                                 const RankSignals& signals, bool more) {
  times_ = {};
  auto table = table_of(step);
  const double lr = lr_at(options_.schedule, step);

  if (device_) counters_before_ = space_->counters();
  gradients_->scale_loss(loss_scale_.factor);
  if (device_ && !std::exchange(begun_, false)) device_->begin_step();
  gradients_->compute(step, next, table.losses, times_);
  *table.signals(group_.topology.rank) = signals;

  if (device_ && compares_nodes_in(step)) compare_nodes(step);
  Laps laps;
  {
    RECORD_USER_SCOPE("exchange");
    gradients_->exchange();
  }
  if (device_) {
    update_on_device(step, lr, table, [&] {
      if (!more) return;
      device_->begin_step();
      begun_ = true;
      gradients_->begin_ahead(step + 1, next);
    });
  }
  relay_.spread(table.bytes, losses_of_rank_, "losses between nodes");
  relay_.spread(table.bytes, signals_of_rank_, "signals between nodes");
  laps.add_to(times_.exchange);

  if (device_) {
    gradients_->finish();
    times_ = device_times();
    auto result = result_of(step, table);
    if (options_.precision == Precision::kFloat16) adapt_loss_scale(result);
    return result;
  }
  if (compares_nodes_in(step)) compare_nodes(step);
  if (kept_ && group_.topology.local_rank == 0) {
    kept_->keep_counters(step + 1, space_->counters());
  }
  update(step, lr, table);
  if (kept_) kept_->end_update();
  laps.add_to(times_.optimizer);
  const auto late = gradients_->take_backward_time();
  times_.backward += late;
  times_.optimizer -= late;

  RECORD_USER_SCOPE("exchange");
  const auto flat_count = static_cast<std::size_t>(space_->layout().flat_count());
  relay_.spread(std::as_writable_bytes(std::span(space_->memory().flat, flat_count)), flat_of_rank_,
                "parameters between nodes");
  if (options_.clip_norm == 0) {
    relay_.spread(table.square_bytes, squares_of_rank_, "gradient norms between nodes");
  }
  gradients_->finish();
  laps.add_to(times_.exchange);

  return result_of(step, table);
}

void TrainStep::update_on_device(std::int64_t step, double lr, Table& table,
                                 const std::function<void()>& ahead) {
  RECORD_USER_SCOPE("optimizer");
  // Of the updates that were made.
  device_->update(optimizer_.numbers(step - loss_scale_.overflows, lr),
                  {.divisor = gradients_->divisor(),
                   .clip_norm = options_.clip_norm,
                   .leaves_out_overflows = options_.precision == Precision::kFloat16},
                  gradients_->sum(0, 0, nullptr));
  device_->begin_results(gradients_->late_losses());
  // A CPU's tensors, as in tests, are in no stream.
  if (options_.device->where.is_cpu()) device_->wait();
  ahead();
  const auto results = device_->wait();
  std::ranges::copy(results.losses, table.losses + range_.begin);
  // All devices know them; one rank tells its node.
  if (group_.topology.local_rank == 0) std::ranges::copy(results.squares, table.block_squares);
}

StepTimes TrainStep::device_times() {
  const auto measured = device_->take_times();
  const auto of = [](double seconds) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(seconds));
  };
  // A forward pass has no end of its own where a graph holds both.
  return {.backward = of(measured.computing),
          .exchange = of(measured.exposed),
          .optimizer = of(measured.updating),
          .hidden = of(std::max(0.0, measured.moving - measured.exposed))};
}

void TrainStep::adapt_loss_scale(StepResult& result) {
  const bool left_out = !std::isfinite(result.gradient_norm);
  result.loss_scale = loss_scale_.factor;
  // A loss that is no number is no matter of its scale.
  result.overflowed = left_out && std::isfinite(result.loss) && !is_smallest(loss_scale_);
  if (left_out) space_->counters() = counters_before_;
  loss_scale_ = next_loss_scale(loss_scale_, left_out, options_.loss_scale);
}

StepResult TrainStep::result_of(std::int64_t step, const Table& table) const {
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
  return {.loss = loss,
          .gradient_norm = norm_of(table),
          .lr = lr_at(options_.schedule, step),
          .signals = all};
}

void TrainStep::update(std::int64_t step, double lr, Table& table) {
  RECORD_USER_SCOPE("optimizer");
  const double mean = 1.0 / gradients_->divisor();
  const auto own = own_blocks();
  const auto slice = elements(blocks_, own);
  const auto parameter_count = space_->layout().parameter_count;
  const bool clip = options_.clip_norm > 0;
  std::array<float, kTileFloats> tile;
  for (auto block = own.begin; block < own.end; ++block) {
    const auto range = blocks_[static_cast<std::size_t>(block)];
    double squares = 0;
    if (kept_ && !clip) kept_->open(block, step);
    for (auto begin = range.begin; begin < range.end; begin += kTileFloats) {
      const FlatRange part{begin, std::min(begin + kTileFloats, range.end)};
      float* room = clip ? summed_.data() + (begin - slice.begin) : tile.data();
      const float* sum = gradients_->sum(part.begin, part.end, room);
      if (clip && sum != room) std::copy_n(sum, part.count(), room);
      if (range.begin < parameter_count) squares += sum_of_squares(sum, part.count());
      if (!clip) update_range(step, lr, static_cast<float>(mean), part, sum);
    }
    table.block_squares[block] = squares;
    if (kept_ && !clip) kept_->close(block, step);
  }
  if (!clip) return;
  relay_.spread(table.square_bytes, squares_of_rank_, "gradient norms between nodes");
  node_barrier("the gradient norm of all ranks");
  const double norm = norm_of(table);
  // As torch.nn.utils.clip_grad_norm_: the coefficient is at most one.
  const double coefficient = std::min(1.0, options_.clip_norm / (norm + 1e-6));
  for (auto block = own.begin; block < own.end; ++block) {
    const auto range = blocks_[static_cast<std::size_t>(block)];
    if (kept_) kept_->open(block, step);
    for (auto begin = range.begin; begin < range.end; begin += kTileFloats) {
      update_range(step, lr, static_cast<float>(mean * coefficient),
                   {begin, std::min(begin + kTileFloats, range.end)},
                   summed_.data() + (begin - slice.begin));
    }
    if (kept_) kept_->close(block, step);
  }
}

void TrainStep::update_range(std::int64_t step, double lr, float scale, FlatRange range,
                             const float* gradients) {
  if (kept_) kept_->save(range);
  change_range(step, lr, scale, range, gradients);
  if (kept_) kept_->add(range);
}

void TrainStep::change_range(std::int64_t step, double lr, float scale, FlatRange range,
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
  return std::sqrt(squares) / gradients_->divisor();
}

/// Before the update, which spreads every owner's parameters: what has changed by itself in a
/// node's copy since the last one would go unseen afterwards, though gradients were computed with
/// it.
void TrainStep::compare_nodes(std::int64_t step) const {
  if (group_.topology.node_count == 1 && !device_) return;
  const auto count = static_cast<std::size_t>(space_->layout().flat_count());
  const auto copy = device_ ? device_->copy_of_all() : std::vector<float>();
  const std::span<const float> parameters =
      device_ ? std::span<const float>(copy) : std::span(space_->memory().flat, count);
  const auto digest = base::to_hex(base::xxh3_128(std::as_bytes(parameters)));
  comm::require_agreement(group_.world, "parameters in step " + std::to_string(step + 1), digest,
                          base::ExitCode::kFailed);
}

bool TrainStep::compares_nodes_in(std::int64_t step) const {
  const auto every = options_.compare_nodes_every_steps;
  return every > 0 && (step + 1) % every == 0;
}

std::size_t TrainStep::fixed_table_bytes() const {
  return pages((static_cast<std::size_t>(options_.micro_batches) + blocks_.size()) *
               sizeof(double));
}

TrainStep::Table TrainStep::table_of(std::int64_t step) const {
  // Two tables in turn: a slow rank may still read the last step's while a fast one writes.
  std::byte* base = tables_ + static_cast<std::size_t>(step % 2) * table_bytes_;
  auto* doubles = reinterpret_cast<double*>(base);
  const auto micro_batches = static_cast<std::size_t>(options_.micro_batches);
  auto* squares = doubles + micro_batches;
  return {.losses = doubles,
          .block_squares = squares,
          .signals_begin = reinterpret_cast<double*>(base + fixed_table_bytes()),
          .bytes = {base, table_bytes_},
          .square_bytes = std::as_writable_bytes(std::span(squares, blocks_.size()))};
}

KeptShape TrainStep::kept_shape_of(const ParameterLayout& layout, FlatRange ranks,
                                   std::size_t states) const {
  KeptShape shape;
  shape.blocks = blocks_;
  shape.held_blocks = {shares_[static_cast<std::size_t>(ranks.begin)].begin,
                       shares_[static_cast<std::size_t>(ranks.end)].end};
  shape.parameter_count = layout.parameter_count;
  shape.states = states;
  shape.counter_count = layout.counter_count;
  shape.holds = options_.hold_for_saves;
  shape.identity = options_.kept_identity + "\n" + layout.describe() + "\nblocks " +
                   std::to_string(shape.held_blocks.begin) + " to " +
                   std::to_string(shape.held_blocks.end) + " states " + std::to_string(states) +
                   " holds " + std::to_string(static_cast<int>(shape.holds)) + " table " +
                   std::to_string(table_bytes_) + " micro-batches " +
                   std::to_string(options_.micro_batches);
  return shape;
}

std::optional<std::int64_t> TrainStep::recover(float* flat) {
  struct Report {
    std::int64_t there = 0, least = 0, most = 0;
  };
  const auto own = own_blocks();
  Report mine;
  if (memory_->survived() && kept_->holds_state()) {
    const auto finished = kept_->finished(own);
    mine.there = 1;
    mine.least = finished ? finished->least : std::numeric_limits<std::int64_t>::max();
    mine.most = finished ? finished->most : -1;
  }
  std::vector<Report> all(static_cast<std::size_t>(group_.world.size()));
  group_.world.all_gather(std::as_bytes(std::span(&mine, 1)),
                          std::as_writable_bytes(std::span(all)),
                          "what former ranks left in memory");
  std::int64_t step = std::numeric_limits<std::int64_t>::max();
  std::int64_t most = -1;
  bool there = true;
  for (const auto& report : all) {
    there = there && report.there == 1;
    step = std::min(step, report.least);
    most = std::max(most, report.most);
  }
  // No rank begins an update before all have finished the one before.
  std::int64_t whole = there && step <= most && most <= step + 1 ? 1 : 0;
  if (whole == 1) {
    for (auto block = own.begin; block < own.end; ++block) {
      if (!kept_->bring_to(block, step)) whole = 0;
    }
    if (!kept_->counters(step)) whole = 0;
  }
  group_.world.all_reduce(std::span(&whole, 1), comm::ReduceOp::kMin, "whether it is whole");
  if (whole == 0) return std::nullopt;

  // Other nodes' parameters may be of the step after, or half of each.
  const auto flat_count = static_cast<std::size_t>(blocks_.back().end);
  relay_.spread(std::as_writable_bytes(std::span(flat, flat_count)), flat_of_rank_,
                "parameters of the recovered state");
  if (step > 0) {
    const auto table = table_of(step - 1);
    relay_.spread(table.bytes, losses_of_rank_, "losses of the recovered step");
    relay_.spread(table.square_bytes, squares_of_rank_, "norms of the recovered step");
  }
  return step;
}

void TrainStep::clear_states(std::int64_t parameter_count) {
  auto own = elements(blocks_, own_blocks());
  own.end = std::max(own.begin, std::min(own.end, parameter_count));
  for (auto* state : states_) std::fill(state + own.begin, state + own.end, 0.0F);
}

void TrainStep::begin_at(std::int64_t step, std::string_view metadata) {
  if (!kept_) return;
  const bool first = group_.topology.local_rank == 0;
  const auto own = own_blocks();
  node_barrier("the state that training begins with");
  if (first) kept_->invalidate();
  node_barrier("the end of the state before");
  for (auto block = own.begin; block < own.end; ++block) kept_->stamp(block, step);
  node_barrier("the stamps of all ranks");
  if (first) kept_->start(step, space_->counters(), metadata);
}

void TrainStep::take_back(std::int64_t step, std::int64_t as_step, std::string_view metadata) {
  LOCKSTEP_EXPECT(options_.keep_last_step, "a step taken back where the last one is not kept");
  gradients_->forget_ahead();
  if (device_) {
    device_->take_back();
    space_->counters() = counters_before_;
    return;
  }
  const auto own = own_blocks();
  node_barrier("the end of a step to take back");
  for (auto block = own.begin; block < own.end; ++block) {
    LOCKSTEP_EXPECT(kept_->bring_to(block, step - 1), "the undo area does not hold the last step");
  }
  space_->counters() = kept_->counters(step - 1).value();
  const auto flat_count = static_cast<std::size_t>(space_->layout().flat_count());
  relay_.spread(std::as_writable_bytes(std::span(space_->memory().flat, flat_count)), flat_of_rank_,
                "parameters before the step taken back");
  begin_at(as_step, metadata);
}

void TrainStep::hold() { device_ ? device_->begin_image() : kept_->hold(); }

void TrainStep::end_hold() { device_ ? device_->end_image() : kept_->end_hold(own_blocks()); }

std::optional<std::span<const std::byte>> TrainStep::held(std::span<const std::byte> memory) const {
  if (!device_) return can_hold() ? kept_->held(memory) : std::nullopt;
  const auto image = std::as_bytes(memory_->bytes());
  const bool inside = memory.data() >= image.data() && memory.data() < image.data() + image.size();
  return inside ? std::optional(memory) : std::nullopt;
}

void TrainStep::prepare_hold() const {
  if (kept_) kept_->prepare_hold(own_blocks());
}

void TrainStep::bring_to_memory() {
  if (!device_) return;
  device_->begin_image();
  device_->end_image();
}

void TrainStep::take_from_memory() {
  gradients_->forget_ahead();
  if (device_) device_->take_image();
}

bool TrainStep::owns(std::size_t block) const {
  if (device_) return device_->owns(block);
  const auto own = own_blocks();
  return static_cast<std::int64_t>(block) >= own.begin &&
         static_cast<std::int64_t>(block) < own.end;
}

std::vector<double> TrainStep::micro_batch_losses(std::int64_t step) const {
  const auto table = table_of(step - 1);
  return {table.losses, table.losses + options_.micro_batches};
}

void TrainStep::keep_metadata(std::int64_t step, std::string_view metadata) {
  if (kept_ && group_.topology.local_rank == 0) kept_->keep_metadata(step, metadata);
}

std::string TrainStep::kept_metadata(std::int64_t step) const {
  return kept_ ? kept_->metadata(step) : std::string();
}

StepResult TrainStep::recovered_result() const {
  LOCKSTEP_EXPECT(recovered_ && *recovered_ > 0, "no step was recovered");
  return result_of(*recovered_ - 1, table_of(*recovered_ - 1));
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
