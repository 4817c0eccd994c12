#include "trainer/device_state.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.hpp"

namespace lockstep::trainer {
namespace {

constexpr std::int64_t kUnit = 64;

std::size_t float_bytes(std::int64_t count) {
  return static_cast<std::size_t>(count) * sizeof(float);
}

/// Of all blocks of parameters but the last, in whole units of what a device reads well.
std::int64_t block_floats(const std::vector<FlatRange>& blocks) {
  const auto longest = blocks.empty() ? 1 : blocks.front().count();
  return std::max(kUnit, (longest + kUnit - 1) / kUnit * kUnit);
}

comm::DeviceExchangeOptions exchange_options(const ParameterLayout& layout,
                                             std::int64_t block_floats, int ranks,
                                             const DeviceStateOptions& options) {
  return {.buckets = {.floats = layout.parameter_count, .ranks = ranks, .slice_unit = block_floats},
          .shared_floats = layout.buffer_count,
          .invariant = options.invariant,
          .leaves = options.micro_batches,
          .leaves_of_rank = options.micro_batches_of_rank};
}

}  // namespace

/// Gradients in the device's memory; exchanged bucket by bucket while backward goes on.
class DeviceState::Sums final : public PartialSums {
 public:
  Sums(DeviceState& state, comm::NodeBarrier& barrier) : state_(state), barrier_(barrier) {}

  std::int64_t floats() const override { return state_.exchange_.floats(); }
  const std::vector<comm::LeafRange>& subtrees() const override {
    return state_.exchange_.subtrees();
  }
  float* partial(std::size_t i) override { return state_.exchange_.partial(i); }
  float* room(std::size_t depth) override {
    while (rooms_.size() <= depth) rooms_.push_back(state_.allocate<float>(floats()));
    return rooms_[depth];
  }
  void add(float* into, const float* from, FlatRange range) override {
    const at::AutoDispatchBelowAutograd below;
    const auto view = [&](float* memory) {
      return view_of(memory + range.begin, {range.count()}, state_.device_.where);
    };
    view(into).add_(view(const_cast<float*>(from)));
  }
  bool goes_early() const override {
    // A model of one large bucket has little to hide, and more to win by whole graphs.
    constexpr std::size_t kFew = 2;
    const bool little =
        state_.group_.world.size() == 1 || state_.exchange_.plan().buckets().size() <= kFew;
    return !(state_.options_.captures_graphs && little);
  }
  void ready(std::int64_t begin) override { state_.exchange_.ready(begin, state_.device_.compute); }
  void exchange() override {
    state_.computing_.end(state_.device_.compute);
    state_.exchange_.ready_all(state_.device_.compute);
    sums_ = state_.exchange_.sums(state_.device_.compute);
  }
  const float* sum(std::int64_t begin, std::int64_t /*end*/, float* /*room*/) override {
    return sums_ + begin;
  }
  void finish() override {
    barrier_.arrive_and_wait(state_.group_.node.deadline(), "the end of a step");
  }
  comm::NodeBarrier& barrier() override { return barrier_; }

 private:
  DeviceState& state_;
  comm::NodeBarrier& barrier_;
  std::vector<float*> rooms_;
  float* sums_ = nullptr;
};

DeviceState::DeviceState(RankGroup group, DeviceContext& device, const ParameterLayout& layout,
                         const std::vector<FlatRange>& blocks, StateImage image,
                         DeviceStateOptions options)
    : group_(group),
      device_(device),
      layout_(layout),
      block_count_(blocks.size()),
      block_floats_(block_floats(blocks)),
      image_(std::move(image)),
      options_(std::move(options)),
      nccl_(device.nccl, *device.api, group.world),
      exchange_(nccl_, *device.api, *device.fold,
                exchange_options(layout, block_floats_, group.world.size(), options_)),
      whole_(*device.api),
      computing_(*device.api) {
  const auto& plan = exchange_.plan();
  std::int64_t own_floats = 0;
  for (std::size_t bucket = 0; bucket < plan.buckets().size(); ++bucket) {
    const auto slice = plan.slice(bucket, group_.world.rank());
    slices_.push_back({.range = {slice.begin, slice.end}, .state = own_floats});
    own_floats += slice.size();
  }
  for (const auto& block : blocks) {
    const bool parameters = block.begin < layout_.parameter_count;
    owned_.push_back((parameters ? plan.owner_of(block.begin) : 0) == group_.world.rank());
  }
  square_count_ =
      std::max(static_cast<std::int64_t>(block_count_), plan.padded_floats() / block_floats_);
  host_squares_.resize(block_count_);
  host_losses_.resize(static_cast<std::size_t>(
      options_.micro_batches_of_rank[static_cast<std::size_t>(group.world.rank())].size()));
  try {
    flat_ = allocate<float>(exchange_.floats());
    constants_ = allocate<float>(std::max<std::int64_t>(layout_.constant_count, 1));
    for (std::size_t i = 0; i < image_.states.size(); ++i) {
      states_.push_back(allocate<float>(std::max<std::int64_t>(own_floats, 1)));
    }
    if (options_.shorts != ShortType::kNone) {
      shorts_ = allocate<std::uint16_t>(exchange_.floats());
    }
    if (options_.can_take_back) {
      for (std::size_t i = 0; i < states_.size() + 1; ++i) {
        before_.push_back(allocate<float>(std::max<std::int64_t>(own_floats, 1)));
      }
      before_.push_back(allocate<float>(std::max<std::int64_t>(layout_.buffer_count, 1)));
    }
    own_squares_ = allocate<double>(square_count_);
    squares_ = allocate<double>(square_count_);
    scale_ = allocate<float>(1);
    copies_ = device_.api->make_stream();
    before_copies_ = device_.api->make_event();
    after_copies_ = device_.api->make_event();
    results_ = device_.api->make_event();
  } catch (...) {
    release();
    throw;
  }
  // All ranks of a node have the same memory; each process pins it for itself.
  pin(image_.bytes);
  pin(std::as_writable_bytes(std::span(host_squares_)));
  pin(std::as_writable_bytes(std::span(host_losses_)));
}

void DeviceState::pin(std::span<std::byte> memory) {
  if (device_.api->pin(memory.data(), memory.size())) pinned_.push_back(memory.data());
}

DeviceState::~DeviceState() {
  if (nccl_.has_failed()) return;  // the process's end frees it all, and waits for nobody
  for (auto* memory : pinned_) device_.api->unpin(memory);
  release();
}

template <class Value>
Value* DeviceState::allocate(std::int64_t count) {
  memory_.reserve(memory_.size() + 1);
  memory_.push_back(device_.api->allocate(static_cast<std::size_t>(count) * sizeof(Value)));
  return static_cast<Value*>(memory_.back());
}

void DeviceState::release() {
  if (results_ != nullptr) device_.api->end_event(results_);
  if (after_copies_ != nullptr) device_.api->end_event(after_copies_);
  if (before_copies_ != nullptr) device_.api->end_event(before_copies_);
  if (copies_ != nullptr) device_.api->end_stream(copies_);
  for (auto* memory : memory_) device_.api->release(memory);
}

StateMemory DeviceState::memory() const {
  return {.flat = flat_,
          .constants = constants_,
          .buffers = exchange_.shared_begin(),
          .shorts = shorts_,
          .device = device_.where};
}

std::unique_ptr<PartialSums> DeviceState::sums(comm::NodeBarrier& barrier) {
  return std::make_unique<Sums>(*this, barrier);
}

void DeviceState::share_initial() {
  auto& api = *device_.api;
  nccl_.begin_after(device_.compute);
  nccl_.broadcast(flat_, static_cast<std::size_t>(exchange_.floats()), comm::DeviceType::kFloat32,
                  0, "initial parameters");
  if (layout_.constant_count > 0) {
    nccl_.broadcast(constants_, static_cast<std::size_t>(layout_.constant_count),
                    comm::DeviceType::kFloat32, 0, "frozen parameters");
    if (group_.topology.local_rank == 0) {
      api.copy_to_host(image_.constants, constants_, float_bytes(layout_.constant_count),
                       nccl_.stream());
    }
  }
  nccl_.finish_before(device_.compute);
  shorten_all();
  nccl_.begin_after(device_.compute);
  nccl_.wait("initial parameters");
}

void DeviceState::shorten_all() {
  device_.kernels->shorten(flat_, {shorts_, options_.shorts}, exchange_.shared_begin(),
                           device_.compute);
}

void DeviceState::shorten_others() {
  if (options_.shorts == ShortType::kNone) return;
  const auto& buckets = exchange_.plan().buckets();
  const auto shorten = [&](std::int64_t begin, std::int64_t end) {
    if (begin == end) return;
    device_.kernels->shorten(flat_ + begin, ShortCopy{shorts_, options_.shorts}.from(begin),
                             end - begin, device_.compute);
  };
  for (std::size_t bucket = 0; bucket < buckets.size(); ++bucket) {
    const auto own = slices_[bucket].range;
    shorten(buckets[bucket].begin, own.begin);
    shorten(own.end, buckets[bucket].end);
  }
}

template <class Visit>
void DeviceState::for_each_changed(Visit visit) {
  for (const auto& [range, state] : slices_) {
    for (std::size_t i = 0; i < states_.size(); ++i) {
      visit(states_[i] + state, before_[i] + state, range.count());
    }
    visit(flat_ + range.begin, before_[states_.size()] + state, range.count());
  }
  visit(flat_ + exchange_.shared_begin(), before_.back(), layout_.buffer_count);
}

void DeviceState::take_back() {
  auto& api = *device_.api;
  api.wait(device_.compute, after_copies_);  // of a state that is being saved
  for_each_changed([&](float* now, const float* before, std::int64_t count) {
    if (count > 0) api.copy_within(now, before, float_bytes(count), device_.compute);
  });
  exchange_.gather(flat_, device_.compute);
  shorten_all();
  nccl_.begin_after(device_.compute);
  nccl_.wait("the state before a step");
}

void DeviceState::update(const UpdateNumbers& numbers, GradientScale how, const float* sums) {
  auto& kernels = *device_.kernels;
  const auto compute = device_.compute;
  for (const auto& [range, state] : slices_) {
    kernels.squares(sums + range.begin, block_floats_, range.count() / block_floats_,
                    own_squares_ + range.begin / block_floats_, compute);
  }
  if (squares() != own_squares_) {
    nccl_.begin_after(compute);
    // Each number has one rank that does not add 0: the sums are exact.
    nccl_.all_reduce(own_squares_, squares_, static_cast<std::size_t>(square_count_),
                     comm::DeviceType::kFloat64, comm::ReduceOp::kSum, "gradient norms");
    nccl_.finish_before(compute);
  }
  kernels.scale(squares(), static_cast<std::int64_t>(block_count_), how, scale_, compute);
  device_.api->wait(compute, after_copies_);  // of a state that is being saved
  if (options_.can_take_back) {
    for_each_changed([&](const float* now, float* before, std::int64_t count) {
      if (count > 0) device_.api->copy_within(before, now, float_bytes(count), compute);
    });
  }
  for (const auto& [range, state] : slices_) {
    std::vector<float*> states;
    for (auto* memory : states_) states.push_back(memory + state);
    kernels.update(numbers, scale_, flat_ + range.begin, sums + range.begin, states.data(),
                   ShortCopy{shorts_, options_.shorts}.from(range.begin), range.count(), compute);
  }
  // Buffers move by the mean of their changes; clipping is not for them.
  const auto shared = exchange_.shared_begin();
  const double mean = 1.0 / static_cast<double>(options_.micro_batches);
  kernels.add_scaled(flat_ + shared, sums + shared, static_cast<float>(mean), scale_,
                     layout_.buffer_count, compute);
  exchange_.gather(flat_, compute);
  shorten_others();
  whole_.end(compute);
}

DeviceState::Times DeviceState::take_times() {
  const auto [moving, exposed] = nccl_.take_times();
  const double computing = computing_.take();
  return {.computing = computing,
          .moving = moving,
          .exposed = exposed,
          .updating = std::max(0.0, whole_.take() - computing - exposed)};
}

void DeviceState::begin_results(std::span<const float> losses) {
  auto& api = *device_.api;
  LOCKSTEP_EXPECT(losses.size() == host_losses_.size(), "losses of other micro-batches");
  api.copy_to_host(host_squares_.data(), squares(), block_count_ * sizeof(double), device_.compute);
  api.copy_to_host(host_losses_.data(), losses.data(), losses.size_bytes(), device_.compute);
  api.record(results_, device_.compute);
}

DeviceState::Results DeviceState::wait() {
  nccl_.wait_for(results_, "a step on all devices");
  return {.squares = host_squares_, .losses = host_losses_};
}

void DeviceState::begin_image() {
  auto& api = *device_.api;
  api.record(before_copies_, device_.compute);
  api.wait(copies_, before_copies_);
  for (const auto& [range, state] : slices_) {
    const auto count = std::min(range.end, layout_.parameter_count) - range.begin;
    if (count <= 0) continue;
    api.copy_to_host(image_.flat + range.begin, flat_ + range.begin, float_bytes(count), copies_);
    for (std::size_t i = 0; i < states_.size(); ++i) {
      api.copy_to_host(image_.states[i] + range.begin, states_[i] + state, float_bytes(count),
                       copies_);
    }
  }
  if (group_.world.rank() == 0 && layout_.buffer_count > 0) {
    api.copy_to_host(image_.flat + layout_.parameter_count, flat_ + exchange_.shared_begin(),
                     float_bytes(layout_.buffer_count), copies_);
  }
  api.record(after_copies_, copies_);
}

void DeviceState::end_image() { wait_for_copies("copy of the state from the device"); }

void DeviceState::take_image() {
  auto& api = *device_.api;
  api.copy_to_device(flat_, image_.flat, float_bytes(layout_.parameter_count), copies_);
  if (layout_.buffer_count > 0) {
    api.copy_to_device(flat_ + exchange_.shared_begin(), image_.flat + layout_.parameter_count,
                       float_bytes(layout_.buffer_count), copies_);
  }
  if (layout_.constant_count > 0) {
    api.copy_to_device(constants_, image_.constants, float_bytes(layout_.constant_count), copies_);
  }
  for (const auto& [range, state] : slices_) {
    const auto count = std::min(range.end, layout_.parameter_count) - range.begin;
    if (count <= 0) continue;
    for (std::size_t i = 0; i < states_.size(); ++i) {
      api.copy_to_device(states_[i] + state, image_.states[i] + range.begin, float_bytes(count),
                         copies_);
    }
  }
  api.record(after_copies_, copies_);
  wait_for_copies("copy of the state to the device");
  shorten_all();
  nccl_.begin_after(device_.compute);
  nccl_.wait("short copies of the state");
}

std::vector<float> DeviceState::copy_of_all() {
  auto& api = *device_.api;
  std::vector<float> all(static_cast<std::size_t>(exchange_.floats()));
  api.record(before_copies_, device_.compute);
  api.wait(copies_, before_copies_);
  api.copy_to_host(all.data(), flat_, float_bytes(exchange_.floats()), copies_);
  api.record(after_copies_, copies_);
  wait_for_copies("copy of the parameters from the device");
  return all;
}

void DeviceState::wait_for_copies(const char* what) { nccl_.wait_for(after_copies_, what); }

}  // namespace lockstep::trainer
