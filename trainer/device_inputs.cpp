#include "trainer/device_inputs.hpp"

#include <ATen/ATen.h>

#include <cstring>

namespace lockstep::trainer {

DeviceInputs::DeviceInputs(DeviceContext& device, DeviceState& state)
    : device_(device), state_(state), stream_(device.api->make_stream()) {
  for (auto& slot : slots_) {
    slot.copied = device_.api->make_event();
    slot.used = device_.api->make_event();
  }
}

DeviceInputs::~DeviceInputs() {
  bool over = !state_.has_failed();
  try {
    for (const auto& slot : slots_) {
      if (over) state_.wait_for(slot.copied, "the last copy of a micro-batch to the device");
    }
  } catch (const std::exception&) {
    over = false;
  }
  if (!over) {
    // Nobody waits for the device any more. What a copy may still read lives until the process
    // ends.
    for (auto& slot : slots_) {
      for (auto* part : {&slot.inputs, &slot.targets, &slot.keys}) {
        [[maybe_unused]] const auto* left = new std::vector(std::move(part->host));
      }
    }
    return;
  }
  for (auto& slot : slots_) {
    for (auto* part : {&slot.inputs, &slot.targets, &slot.keys}) release(*part);
    device_.api->end_event(slot.copied);
    device_.api->end_event(slot.used);
  }
  device_.api->end_stream(stream_);
}

void DeviceInputs::release(Part& part) {
  if (part.pinned) device_.api->unpin(part.host.data());
  if (part.there != nullptr) device_.api->release(part.there);
  part = {};
}

void DeviceInputs::copy(Part& part, const void* from, std::size_t bytes) {
  if (bytes > part.host.size()) {
    release(part);
    part.host.resize(bytes);
    part.pinned = device_.api->pin(part.host.data(), bytes);
    part.there = device_.api->allocate(bytes);
  }
  std::memcpy(part.host.data(), from, bytes);
  device_.api->copy_to_device(part.there, part.host.data(), bytes, stream_);
}

torch::Tensor DeviceInputs::copy_tensor(Part& part, const torch::Tensor& tensor) {
  const auto whole = tensor.contiguous();
  copy(part, whole.const_data_ptr(), whole.nbytes());
  return at::for_blob(part.there, whole.sizes())
      .options(whole.options().device(device_.where))
      .target_device(device_.where)
      .make_tensor();
}

DeviceInputs::There DeviceInputs::take(const MicroBatch& batch,
                                       std::span<const std::uint64_t> keys) {
  auto& api = *device_.api;
  current_ = (current_ + 1) % slots_.size();
  auto& slot = slots_[current_];
  state_.wait_for(slot.copied, "the copy of a micro-batch to the device");
  api.wait(stream_, slot.used);
  There there{.batch = {.index = batch.index,
                        .inputs = copy_tensor(slot.inputs, batch.inputs),
                        .targets = copy_tensor(slot.targets, batch.targets)}};
  copy(slot.keys, keys.data(), keys.size_bytes());
  there.keys = static_cast<const std::uint64_t*>(slot.keys.there);
  api.record(slot.copied, stream_);
  api.wait(device_.compute, slot.copied);
  // A CPU's tensors, as in tests, are in no stream.
  if (device_.where.is_cpu()) state_.wait_for(slot.copied, "the copy of a micro-batch");
  return there;
}

void DeviceInputs::used() { device_.api->record(slots_[current_].used, device_.compute); }

}  // namespace lockstep::trainer
