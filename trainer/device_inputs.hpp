#pragma once
// A step's micro-batches on their way to the device: copied from pinned memory on a stream of
// their own, into one of two places, while the device still computes with the other. Used by
// AutogradGradients. One rank, one thread.

#include <array>
#include <span>
#include <vector>

#include "trainer/device_context.hpp"
#include "trainer/device_state.hpp"
#include "trainer/gradient_source.hpp"

namespace lockstep::trainer {

class DeviceInputs {
 public:
  /// Both must outlive this; `state` waits for the device. Throws DeviceError.
  DeviceInputs(DeviceContext& device, DeviceState& state);
  ~DeviceInputs();
  DeviceInputs(const DeviceInputs&) = delete;
  DeviceInputs& operator=(const DeviceInputs&) = delete;

  struct There {
    MicroBatch batch;                     ///< tensors of the device's memory
    const std::uint64_t* keys = nullptr;  ///< in the device's memory
  };
  /// Enqueues the copy of `batch` and `keys`, and has the compute stream wait for it; the host's
  /// memory is free on return. What was taken two calls before must have been `used`.
  There take(const MicroBatch& batch, std::span<const std::uint64_t> keys);
  /// Where the next one's inputs will lie, null before the first there.
  const void* next_inputs() const { return slots_[(current_ + 1) % slots_.size()].inputs.there; }
  /// All that reads what was taken last is in the compute stream.
  void used();

 private:
  struct Part {
    std::vector<std::byte> host;
    void* there = nullptr;
    bool pinned = false;
  };
  struct Slot {
    Part inputs, targets, keys;
    comm::DeviceEvent copied = nullptr, used = nullptr;
  };
  void copy(Part& part, const void* from, std::size_t bytes);
  torch::Tensor copy_tensor(Part& part, const torch::Tensor& tensor);
  void release(Part& part);

  DeviceContext& device_;
  DeviceState& state_;
  comm::DeviceStream stream_ = nullptr;
  std::array<Slot, 2> slots_;
  std::size_t current_ = 1;
};

}  // namespace lockstep::trainer
