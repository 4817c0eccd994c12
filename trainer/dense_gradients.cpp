#include "trainer/dense_gradients.hpp"

#include <ATen/record_function.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "trainer/dense_kernels.hpp"

namespace lockstep::trainer {
namespace {

constexpr std::int64_t kLineFloats = 16;
constexpr std::int64_t kPageFloats = 1024;
// The gradient of that many elements is made at once: it stays in the L2 cache until it is used.
constexpr std::int64_t kPanelFloats = 64 << 10;
// A layer with that many weights is computed by all ranks of a node together, each its columns for
// everybody's rows: the weights are then read once a node instead of once a rank, which is worth
// two meetings.
constexpr std::int64_t kSharedWeights = 1 << 20;
// Records may take as much memory as two gradients, and this much in any case.
constexpr std::int64_t kLeastRecordFloats = 16 << 20;

std::int64_t lines(std::int64_t floats) {
  return (floats + kLineFloats - 1) / kLineFloats * kLineFloats;
}

}  // namespace

std::int64_t DensePlan::record_floats() const {
  std::int64_t floats = 0;
  for (const auto& layer : layers) floats += lines(layer.inputs) + lines(layer.outputs);
  // Records a multiple of a page apart would meet in the same lines of the cache.
  return floats % kPageFloats == 0 ? floats + kLineFloats : floats;
}

std::optional<DensePlan> plan_dense(const Model& model, const ParameterLayout& layout,
                                    std::int64_t global_batch) {
  const auto chain = model.dense_chain();
  if (!chain) return std::nullopt;
  // Each parameter is one layer's weight or bias, and there are no buffers beside them.
  if (layout.parameters.size() != 2 * chain->layers.size() || layout.buffer_count > 0 ||
      !layout.constants.empty() || !layout.counters.empty()) {
    return std::nullopt;
  }
  const auto parameters = model.named_parameters();
  const auto offset_of = [&](const torch::Tensor& tensor) -> std::optional<std::int64_t> {
    for (const auto& entry : layout.parameters) {
      if (parameters[entry.name].is_same(tensor)) return entry.offset;
    }
    return std::nullopt;
  };
  DensePlan plan;
  plan.activation = chain->activation;
  for (const auto& layer : chain->layers) {
    const auto weight = offset_of(layer->weight);
    const auto bias = layer->bias.defined() ? offset_of(layer->bias) : std::nullopt;
    if (!weight || !bias) return std::nullopt;
    plan.layers.push_back({.inputs = layer->weight.size(1),
                           .outputs = layer->weight.size(0),
                           .weight = *weight,
                           .bias = *bias});
    const auto index = plan.layers.size() - 1;
    plan.pieces.push_back({*weight, *weight + layer->weight.numel(), index, false});
    plan.pieces.push_back({*bias, *bias + layer->bias.numel(), index, true});
  }
  std::ranges::sort(plan.pieces, {}, &DensePlan::Piece::begin);
  const auto most = std::max(kLeastRecordFloats, 2 * layout.parameter_count);
  if (plan.record_floats() > most / std::max<std::int64_t>(global_batch, 1)) return std::nullopt;
  return plan;
}

DenseGradients::DenseGradients(RankGroup group, ParameterSpace& space, DensePlan plan,
                               Objective objective, DenseOptions options)
    : group_(group),
      space_(space),
      plan_(std::move(plan)),
      objective_(objective),
      options_(std::move(options)),
      relay_(group.world, group.topology),
      record_(plan_.record_floats()) {
  std::int64_t place = 0;
  for (const auto& layer : plan_.layers) {
    inputs_at_.push_back(place);
    place += lines(layer.inputs);
  }
  for (const auto& layer : plan_.layers) {
    gradients_at_.push_back(place);
    place += lines(layer.outputs);
  }
  const auto& micro_batches = options_.micro_batches_of_rank;
  const auto record_bytes = static_cast<std::size_t>(record_) * sizeof(float);
  for (const auto& range : micro_batches) {
    records_of_rank_.push_back(
        {static_cast<std::size_t>(range.begin * options_.micro_batch) * record_bytes,
         static_cast<std::size_t>(range.end * options_.micro_batch) * record_bytes});
  }
  range_ = micro_batches[static_cast<std::size_t>(group_.topology.rank)];
  rows_ = range_.size() * options_.micro_batch;
  samples_ = micro_batches.back().end * options_.micro_batch;
  memory_ = std::make_unique<comm::NodeMemory>(
      group_.node, static_cast<std::size_t>(samples_) * record_bytes, "activations");
  records_ = reinterpret_cast<float*>(memory_->bytes().data());
  own_records_ = records_ + range_.begin * options_.micro_batch * record_;
  const auto& first_of_node = group_.topology.first_rank_of_node;
  const auto node = static_cast<std::size_t>(group_.topology.node);
  const auto first = micro_batches[static_cast<std::size_t>(first_of_node[node])].begin;
  const auto end = micro_batches[static_cast<std::size_t>(first_of_node[node + 1]) - 1].end;
  node_records_ = records_ + first * options_.micro_batch * record_;
  node_rows_ = (end - first) * options_.micro_batch;
  if (plan_.activation == DenseActivation::kGelu) {
    for (std::size_t l = 0; l + 1 < plan_.layers.size(); ++l) {
      sums_.push_back(at::empty({rows_, plan_.layers[l].outputs}, at::kFloat));
    }
  }
  panel_.resize(static_cast<std::size_t>(2 * kPanelFloats));
}

void DenseGradients::compute(std::int64_t, const std::function<MicroBatch()>& next, double* losses,
                             StepTimes& times) {
  const torch::NoGradGuard no_grad;
  take_inputs(next);
  run_forward(times);
  Laps laps;
  run_loss(losses);
  laps.add_to(times.forward);
  run_backward(times);
}

void DenseGradients::take_inputs(const std::function<MicroBatch()>& next) {
  const auto width = plan_.layers.front().inputs;
  targets_.clear();
  float* record = own_records_;
  for (auto i = range_.begin; i < range_.end; ++i) {
    const auto batch = next();
    LOCKSTEP_EXPECT(batch.index == i && batch.inputs.size(0) == options_.micro_batch &&
                        batch.inputs.numel() == options_.micro_batch * width,
                    "a micro-batch that is not the one this rank computes");
    const auto inputs = batch.inputs.contiguous();
    const auto* sample = inputs.const_data_ptr<float>();
    for (std::int64_t row = 0; row < options_.micro_batch; ++row) {
      std::memcpy(record, sample, static_cast<std::size_t>(width) * sizeof(float));
      record += record_;
      sample += width;
    }
    targets_.push_back(batch.targets.clone());
  }
}

/// This rank's part of `count` columns that the node's ranks compute together.
FlatRange DenseGradients::own_columns(std::int64_t count) const {
  const auto blocks = lines(count) / kLineFloats;
  const auto column = [&](std::int64_t rank) {
    return std::min(count, blocks * rank / group_.topology.local_size * kLineFloats);
  };
  return {column(group_.topology.local_rank), column(group_.topology.local_rank + 1)};
}

bool DenseGradients::is_shared(const DensePlan::Layer& layer) const {
  // Other activations than ReLU are applied to a rank's own rows afterwards.
  return group_.topology.local_size > 1 && plan_.activation == DenseActivation::kRelu &&
         layer.inputs * layer.outputs >= kSharedWeights;
}

void DenseGradients::meet(std::string_view what, Laps& laps, std::chrono::nanoseconds& work,
                          StepTimes& times) {
  RECORD_USER_SCOPE("exchange");
  laps.add_to(work);
  memory_->barrier().arrive_and_wait(group_.node.deadline(), what);
  laps.add_to(times.exchange);
}

void DenseGradients::run_forward(StepTimes& times) {
  RECORD_USER_SCOPE("forward");
  Laps laps;
  const float* flat = space_.memory().flat;
  const bool relu = plan_.activation == DenseActivation::kRelu;
  bool met = false;  // everybody's inputs of the layer are there
  for (std::size_t l = 0; l < plan_.layers.size(); ++l) {
    const auto& layer = plan_.layers[l];
    const bool last = l + 1 == plan_.layers.size();
    const bool keep_sums = !last && !sums_.empty();
    const bool shared = is_shared(layer);
    if (shared && !met) meet("inputs of a layer", laps, times.forward, times);
    const auto columns = shared ? own_columns(layer.outputs) : FlatRange{0, layer.outputs};
    float* records = shared ? node_records_ : own_records_;
    float* outputs = records + (last ? gradients_at_[l] : inputs_at_[l + 1]);
    dense_forward(
        {.rows = shared ? node_rows_ : rows_,
         .inputs_count = layer.inputs,
         .outputs_count = columns.count(),
         .inputs = records + inputs_at_[l],
         .inputs_row = record_,
         .weights = flat + layer.weight + columns.begin * layer.inputs,
         .bias = flat + layer.bias + columns.begin,
         .outputs = keep_sums ? sums_[l].mutable_data_ptr<float>() : outputs + columns.begin,
         .outputs_row = keep_sums ? layer.outputs : record_,
         .rectify = relu && !last});
    if (!last && !relu) activate(l);
    met = shared;
    if (shared) meet("outputs of a layer", laps, times.forward, times);
  }
  laps.add_to(times.forward);
}

/// A view of this rank's rows in the records, from their float `first`.
torch::Tensor DenseGradients::rows_of(std::int64_t first, std::int64_t width) {
  return at::from_blob(own_records_ + first, {rows_, width}, {record_, 1},
                       at::TensorOptions(at::kFloat));
}

// Elementwise operations on the rows' views: a row's bits do not depend on its neighbours.
void DenseGradients::activate(std::size_t l) {
  auto outputs = rows_of(inputs_at_[l + 1], plan_.layers[l].outputs);
  if (plan_.activation == DenseActivation::kGelu) {
    outputs.copy_(at::gelu(sums_[l]));  // gelu_out ignores the strides of its result
  } else {
    at::tanh_out(outputs, outputs);
  }
}

void DenseGradients::run_loss(double* losses) {
  const auto last = plan_.layers.size() - 1;
  const auto width = plan_.layers[last].outputs;
  float* outputs = own_records_ + gradients_at_[last];
  for (auto i = range_.begin; i < range_.end; ++i) {
    const auto& targets = targets_[static_cast<std::size_t>(i - range_.begin)];
    losses[i] = objective_.differentiate(outputs, record_, width, targets);
    outputs += options_.micro_batch * record_;
  }
}

void DenseGradients::run_backward(StepTimes& times) {
  RECORD_USER_SCOPE("backward");
  Laps laps;
  const float* flat = space_.memory().flat;
  bool met = false;
  for (auto l = plan_.layers.size() - 1; l > 0; --l) {
    const auto& layer = plan_.layers[l];
    const bool shared = is_shared(layer);
    if (shared && !met) meet("gradients of a layer", laps, times.backward, times);
    const auto columns = shared ? own_columns(layer.inputs) : FlatRange{0, layer.inputs};
    float* records = shared ? node_records_ : own_records_;
    outer_sum({.rows = shared ? node_rows_ : rows_,
               .columns = columns.count(),
               .steps = layer.outputs,
               .left = records + gradients_at_[l],
               .left_row = record_,
               .left_step = 1,
               .right = flat + layer.weight + columns.begin,
               .right_step = layer.inputs,
               .sums = records + gradients_at_[l - 1] + columns.begin,
               .sums_row = record_});
    if (shared) meet("gradients of a layer's inputs", laps, times.backward, times);
    multiply_by_slope(l - 1);
    met = false;
  }
  laps.add_to(times.backward);
}

void DenseGradients::multiply_by_slope(std::size_t l) {
  const auto width = plan_.layers[l].outputs;
  if (plan_.activation == DenseActivation::kRelu) {
    for (std::int64_t row = 0; row < rows_; ++row) {
      const float* outputs = own_records_ + row * record_ + inputs_at_[l + 1];
      float* gradients = own_records_ + row * record_ + gradients_at_[l];
      for (std::int64_t i = 0; i < width; ++i) gradients[i] = outputs[i] <= 0 ? 0.0F : gradients[i];
    }
    return;
  }
  auto gradients = rows_of(gradients_at_[l], width);
  if (plan_.activation == DenseActivation::kGelu) {
    at::gelu_backward_out(gradients, gradients, sums_[l]);
  } else {
    at::tanh_backward_out(gradients, gradients, rows_of(inputs_at_[l + 1], width));
  }
}

void DenseGradients::exchange() {
  memory_->barrier().arrive_and_wait(group_.node.deadline(), "activations of all ranks");
  if (group_.topology.node_count > 1) {
    relay_.spread(memory_->bytes(), records_of_rank_, "activations between nodes");
    memory_->barrier().arrive_and_wait(group_.node.deadline(), "activations of other nodes");
  }
  panel_begin_ = panel_end_ = 0;
}

void DenseGradients::finish() {
  memory_->barrier().arrive_and_wait(group_.node.deadline(), "the updated parameters of all ranks");
}

std::chrono::nanoseconds DenseGradients::take_backward_time() {
  return std::exchange(backward_time_, {});
}

const float* DenseGradients::sum(std::int64_t begin, std::int64_t end, float*) {
  if (begin < panel_begin_ || end > panel_end_) {
    Laps laps;
    fill_panel(begin, end);
    laps.add_to(backward_time_);
  }
  return panel_.data() + (begin - panel_begin_);
}

/// Makes the panel begin at `begin` and reach to `least_end` or beyond.
void DenseGradients::fill_panel(std::int64_t begin, std::int64_t least_end) {
  std::int64_t kept = 0;
  if (begin >= panel_begin_ && begin < panel_end_) {
    kept = panel_end_ - begin;
    std::memmove(panel_.data(), panel_.data() + (begin - panel_begin_),
                 static_cast<std::size_t>(kept) * sizeof(float));
  }
  panel_begin_ = begin;
  const auto slice_end = options_.slice_of_rank[static_cast<std::size_t>(group_.topology.rank)].end;
  auto end = std::min(begin + kPanelFloats, slice_end);
  // Better to stop between rows than within one, as long as this is not less than asked for.
  for (const auto& layer : plan_.layers) {
    if (end <= layer.weight || end >= layer.weight + layer.inputs * layer.outputs) continue;
    const auto row_end = end - (end - layer.weight) % layer.inputs;
    if (row_end >= least_end && end < slice_end) end = row_end;
  }
  end = std::max(end, least_end);
  panel_end_ = end;
  auto from = begin + kept;
  for (const auto& piece : plan_.pieces) {
    const auto piece_begin = std::max(from, piece.begin);
    const auto piece_end = std::min(end, piece.end);
    if (piece_begin < piece_end) {
      fill(piece, piece_begin - piece.begin, piece_end - piece.begin,
           panel_.data() + (piece_begin - begin));
    }
  }
}

/// The gradient of elements [begin, end) of one weight matrix or bias.
void DenseGradients::fill(const DensePlan::Piece& piece, std::int64_t begin, std::int64_t end,
                          float* out) {
  const auto& layer = plan_.layers[piece.layer];
  const float* gradients = records_ + gradients_at_[piece.layer];
  static const float one = 1;
  if (piece.bias) {
    outer_sum({.rows = 1,
               .columns = end - begin,
               .steps = samples_,
               .left = &one,
               .left_row = 0,
               .left_step = 0,
               .right = gradients + begin,
               .right_step = record_,
               .sums = out,
               .sums_row = end - begin});
    return;
  }
  const float* inputs = records_ + inputs_at_[piece.layer];
  const auto rectangle = [&](std::int64_t rows, std::int64_t columns) {
    const auto row = begin / layer.inputs, column = begin % layer.inputs;
    outer_sum({.rows = rows,
               .columns = columns,
               .steps = samples_,
               .left = gradients + row,
               .left_row = 1,
               .left_step = record_,
               .right = inputs + column,
               .right_step = record_,
               .sums = out,
               .sums_row = layer.inputs});
    begin += rows * columns;
    out += rows * columns;
  };
  // What is left of a row, whole rows, and the start of the last one.
  if (const auto column = begin % layer.inputs; column > 0) {
    rectangle(1, std::min(end - begin, layer.inputs - column));
  }
  if (const auto rows = (end - begin) / layer.inputs; rows > 0) rectangle(rows, layer.inputs);
  if (begin < end) rectangle(1, end - begin);
}

}  // namespace lockstep::trainer
