#include "trainer/autograd_gradients.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/anomaly_mode.h>

#include <algorithm>
#include <bit>
#include <mutex>
#include <utility>

#include "base/error.hpp"
#include "base/philox.hpp"
#include "trainer/device_forward.hpp"
#include "trainer/output_loss.hpp"

namespace lockstep::trainer {
namespace {

void seed_generator(at::Generator generator, std::uint64_t seed) {
  const std::lock_guard lock(generator.mutex());
  generator.set_current_seed(seed);
}

// More than any forward pass makes.
constexpr std::int64_t kDropoutsOfAMicroBatch = 1024;

/// The numbers that `dropout` draws on the CPU from a generator of that seed, in order.
void draw_keys(std::uint64_t seed, std::vector<std::uint64_t>& keys) {
  auto generator = at::detail::createCPUGenerator(seed);
  auto* stream = at::check_generator<at::CPUGeneratorImpl>(generator);
  const std::lock_guard lock(stream->mutex_);
  for (auto& key : keys) key = stream->random64();
}

}  // namespace

AutogradGradients::AutogradGradients(ParameterSpace& space, Objective objective,
                                     std::unique_ptr<PartialSums> sums, AutogradOptions options,
                                     std::unique_ptr<DeviceInputs> inputs)
    : space_(space),
      objective_(objective),
      sums_(std::move(sums)),
      options_(options),
      inputs_(std::move(inputs)),
      generator_(at::detail::createCPUGenerator()) {
  if (options_.device == nullptr) return;
  graphs_.emplace(*options_.device, space_, options_.captures_graphs);
  dropout_keys_.resize(kDropoutsOfAMicroBatch);
  const auto floats = at::TensorOptions(at::kFloat).device(space_.memory().device);
  losses_there_ = at::zeros({options_.range.size()}, floats);
  // From the start: graphs read it, whatever it is.
  if (space_.precision() == Precision::kFloat16) loss_factor_there_ = at::ones({}, floats);
  // Before LibTorch takes what is left of the memory.
  for (const auto& subtree : sums_->subtrees()) {
    for (std::uint64_t leaf = 0; leaf < static_cast<std::uint64_t>(subtree.size()); leaf += 2) {
      for (int depth = 0; depth < std::popcount(leaf); ++depth) {
        sums_->room(static_cast<std::size_t>(depth));
      }
    }
  }
}

void AutogradGradients::compute(std::int64_t step, const std::function<MicroBatch()>& next,
                                double* losses, StepTimes& times) {
  const auto& range = options_.range;
  if (ahead_failed_) std::rethrow_exception(ahead_failed_);
  LOCKSTEP_EXPECT(!ahead_ || ahead_->step == step, "a micro-batch of another step computed ahead");
  // Not again where that came with the beginning.
  if (!ahead_ || !ahead_->stands) space_.refresh();
  if (options_.fold_in_turn) {
    for (auto i = range.begin; i < range.end; ++i) {
      ParameterSpace::Arrived arrived;
      if (i + 1 == range.end && sums_->goes_early()) {
        arrived = [this](std::int64_t begin) { sums_->ready(begin); };
      }
      run_micro_batch(step, next, sums_->partial(0),
                      i == range.begin ? Contribution::kStore : Contribution::kAdd, arrived, losses,
                      times);
    }
    space_.commit_counters();
    return;
  }
  const auto& subtrees = sums_->subtrees();
  for (std::size_t s = 0; s < subtrees.size(); ++s) {
    // A binary counter: level k of the stack holds the sum of a finished subtree; after leaf j,
    // as many neighbours are complete as j has trailing ones.
    const auto level = [&](int depth) {
      return depth == 0 ? sums_->partial(s) : sums_->room(static_cast<std::size_t>(depth) - 1);
    };
    const auto leaves = subtrees[s].size();
    int depth = 0;  // finished sums below the one being written
    for (std::int64_t j = 0; j < leaves; ++j) {
      const bool odd = j % 2 == 1;
      if (odd) --depth;  // the right neighbour is added to the left one as it arrives
      const int target = depth++;
      const int complete = std::countr_one(static_cast<std::uint64_t>(j));
      int count = std::max(0, complete - 1);
      if (j + 1 == leaves) count = depth - 1;
      Merges merges;
      for (; count > 0; --count) {
        --depth;
        merges.emplace_back(level(depth - 1), level(depth));
      }
      auto end = sums_->floats();  // what lies behind is merged
      ParameterSpace::Arrived arrived;
      if (s + 1 == subtrees.size() && j + 1 == leaves && sums_->goes_early()) {
        // The shared buffers' changes are there at the end only.
        end = space_.layout().parameter_count;
        arrived = [&](std::int64_t begin) {
          merge(merges, {begin, end});
          end = begin;
          sums_->ready(begin);
        };
      }
      run_micro_batch(step, next, level(target), odd ? Contribution::kAdd : Contribution::kStore,
                      arrived, losses, times);
      Laps laps;
      merge(merges, {0, end});
      if (arrived) merge(merges, {space_.memory().buffers, sums_->floats()});
      laps.add_to(times.exchange);
    }
  }
  space_.commit_counters();
}

void AutogradGradients::merge(const Merges& merges, FlatRange range) {
  if (range.count() == 0) return;
  for (const auto& [sum, other] : merges) sums_->add(sum, other, range);
}

void AutogradGradients::run_micro_batch(std::int64_t step, const std::function<MicroBatch()>& next,
                                        float* target, Contribution contribution,
                                        const ParameterSpace::Arrived& arrived, double* losses,
                                        StepTimes& times) {
  if (options_.device != nullptr) {  // whose times are measured there
    const auto ahead = std::exchange(ahead_, std::nullopt);
    if (ahead && ahead->stands) {
      space_.change_counters(ahead->counter_changes);
    } else {
      run_on_device(step, ahead ? ahead->there : take(step, next()), target, contribution, arrived);
    }
    return;
  }
  const auto batch = next();
  Laps laps;
  seed_streams(step, batch.index);
  space_.begin_micro_batch(target, contribution, arrived);
  const auto loss = forward(batch, {.phase = Phase::kTraining,
                                    .generator = generator_,
                                    .dense_kernels = options_.dense_kernels,
                                    .recompute = options_.recompute});
  laps.add_to(times.forward);
  backward(loss, step, batch.index);
  space_.end_micro_batch();
  losses[batch.index] = loss.item<float>();
  laps.add_to(times.backward);
}

std::uint64_t AutogradGradients::seed_of(std::int64_t step, std::int64_t index) const {
  return base::keyed_random(options_.seed, base::RandomPurpose::kMicroBatch,
                            static_cast<std::uint64_t>(step), static_cast<std::uint64_t>(index));
}

void AutogradGradients::seed_streams(std::int64_t step, std::int64_t index) {
  const auto seed = seed_of(step, index);
  generator_.set_current_seed(seed);
  seed_generator(at::detail::getDefaultCPUGenerator(), seed);
  const auto where = space_.memory().device;
  if (!where.is_cpu()) seed_generator(at::globalContext().defaultGenerator(where), seed);
}

DeviceInputs::There AutogradGradients::take(std::int64_t step, const MicroBatch& batch) {
  draw_keys(seed_of(step, batch.index), dropout_keys_);
  return inputs_->take(batch, dropout_keys_);
}

/// Enqueues all of it; nothing is waited for, the loss's number neither.
void AutogradGradients::run_on_device(std::int64_t step, const DeviceInputs::There& there,
                                      float* target, Contribution contribution,
                                      const ParameterSpace::Arrived& arrived) {
  const auto index = there.batch.index;
  seed_streams(step, index);
  const auto work = [=, this] {
    space_.begin_micro_batch(target, contribution, arrived);
    DeviceForward device{.layers = *options_.device->layers,
                         .stream = options_.device->compute,
                         .dropouts = {.keys = there.keys, .count = kDropoutsOfAMicroBatch}};
    const auto loss = forward(there.batch, {.phase = Phase::kTraining,
                                            .generator = generator_,
                                            .recompute = options_.recompute,
                                            .device = &device});
    backward(loss_factor_there_.defined() ? loss * loss_factor_there_ : loss, step, index);
    space_.end_micro_batch();
    return loss.detach();
  };
  const auto loss = arrived ? graphs_->run_eagerly(work)
                            : graphs_->run({.inputs = there.batch.inputs.const_data_ptr(),
                                            .targets = there.batch.targets.const_data_ptr(),
                                            .keys = there.keys,
                                            .target = target,
                                            .contribution = contribution,
                                            .input_shape = there.batch.inputs.sizes().vec()},
                                           work);
  inputs_->used();
  losses_there_.select(0, index - options_.range.begin).copy_(loss);
}

void AutogradGradients::begin_ahead(std::int64_t step, const std::function<MicroBatch()>& next) {
  // Not one whose gradients other ranks get while it is computed, nor one with a factor that the
  // step before decides on.
  const bool alone = options_.range.size() > 1 || !sums_->goes_early();
  if (options_.device == nullptr || !alone || loss_factor_there_.defined()) return;
  // Where other ranks take part the step's end may never come, and the device's queue is finite: a
  // host that waits for room in it hears of no failure.
  const bool others = options_.range.size() < options_.micro_batches;
  if (others &&
      !graphs_->has_graph(inputs_->next_inputs(), sums_->partial(0), Contribution::kStore)) {
    return;
  }
  try {
    space_.refresh();
    const auto there = take(step, next());
    // Until it is done it can be computed once more.
    ahead_ = {.step = step, .there = there, .counter_changes = {}, .stands = false};
    run_on_device(step, there, sums_->partial(0), Contribution::kStore, {});
    ahead_->counter_changes = space_.counter_changes();
    ahead_->stands = true;
  } catch (...) {
    ahead_failed_ = std::current_exception();
  }
}

void AutogradGradients::forget_ahead() {
  if (!ahead_) return;
  ahead_->stands = false;
  ahead_failed_ = nullptr;  // of a state that is no more
}

torch::Tensor AutogradGradients::forward(const MicroBatch& batch, const ForwardContext& context) {
  RECORD_USER_SCOPE("forward");
  const auto device = space_.memory().device;
  const Autocast autocast(device, space_.precision());
  const auto before = space_.model().before_outputs(space_.as_inputs(batch.inputs), context);
  return output_loss(before, batch.targets, objective_, context,
                     {.most_outputs = outputs_at_once(device), .factor = loss_factor_there_});
}

void AutogradGradients::backward(const at::Tensor& loss, std::int64_t step, std::int64_t index) {
  RECORD_USER_SCOPE("backward");
  try {
    loss.backward();
  } catch (const std::exception& error) {
    const std::string words = error.what();
    const bool anomaly = torch::autograd::AnomalyMode::is_enabled() &&
                         words.find("returned nan values") != std::string::npos;
    if (!anomaly) throw;
    throw base::DivergenceError(
        words.substr(0, words.find('\n')) + " (in micro-batch " + std::to_string(index) +
        " of step " + std::to_string(step + 1) +
        "; the operation before it in the model made what has no gradient); 'lockstep replay RUN "
        "--step " +
        std::to_string(step + 1) + " --micro-batch " + std::to_string(index) + "' has its samples");
  }
}

void AutogradGradients::scale_loss(double factor) {
  if (factor == loss_factor_) return;
  loss_factor_ = factor;
  LOCKSTEP_EXPECT(loss_factor_there_.defined(), "a loss scale of another precision than f16");
  // In place: graphs that were captured read it.
  loss_factor_there_.fill_(factor);
}

std::span<const float> AutogradGradients::late_losses() const {
  if (!losses_there_.defined()) return {};
  return {losses_there_.const_data_ptr<float>(), static_cast<std::size_t>(losses_there_.numel())};
}

}  // namespace lockstep::trainer
